"""Samples in, frames out: one muxing a stream, however many viewers it has, and a drop queue for each."""
