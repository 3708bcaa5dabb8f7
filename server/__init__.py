"""One server process: RTSP and HTTP viewers at one end, the muxers' frames at the other."""
