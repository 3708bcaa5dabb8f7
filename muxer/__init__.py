"""The muxer: samples to MPEG-TS in RTP, once a stream, into a ring; a drop queue for each viewer."""
