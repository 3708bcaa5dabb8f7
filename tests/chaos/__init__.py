"""A soak that kills, stops, slows, floods and cuts at random by seed, while viewers check every picture."""
