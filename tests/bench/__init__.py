"""What framegate costs, beside a C loop and other servers, in one command.

    python -m tests.bench --plot cost.png                   everything, three times: some hours
    python -m tests.bench --rows load --viewers 1000 --repeats 1 --servers framegate,c         a quick look
    python -m tests.bench.mux                               muxing alone, in more sizes

To be run in the checkout, by the Python that framegate is installed in. Needs a C compiler, and for the peers
what `peers.py` says; a server that cannot be had is left out and the reason printed under the table. Nothing
leaves 127.0.0.1. The clip, the C programs and the peers are made once, in ~/.cache/framegate-bench.

Rows
    load      CPU seconds of all processes of the server per GB delivered to N viewers, late frames, memory
    join      N viewers who join at the same moment: until the last of them has its first byte of media
    age       from the frame's time (capture's publish) to its last byte at the viewer; framegate and C only
    spliced   framegate only: load once every viewer has been spliced (by not reading for 10 s)
    streams   framegate only: N streams with one viewer each, in cores
    scale     framegate only: load, by 1, 2, 4 server processes; what they deliver with a core each follows from
              what the busiest of them takes
    mux       framegate only: muxing a picture of 17 kB, beside a copy of it in memory and libavformat

How to read the table
    s/GB      CPU seconds per 10^9 bytes that arrived, RTP, RTSP and TS headers included; (least to most)
    × C       that, divided by the C baseline's in the same repetition; the median over repetitions
    ÷ fg      that, divided by framegate's in the same repetition: so many times cheaper is framegate
    cores     CPU seconds a second; for framegate also by role. Capture and muxer cost the same for any number of
              viewers: with few of them they are most of s/GB
    late      share of the frames due that came over 1.25 frames' time after they were due (see sink.c). Peers
              that ffmpeg pushes to also show ffmpeg's own pacing there
    kB/viewer resident memory of the processes that hold viewers, beyond what it was before the first one came
    note      what makes the line doubtful: viewers that did not join, a sink that was itself late, and so on

The last table holds the figures against what they must be and are to be.

All servers are measured in turn within each repetition, in another order in each, so that a slow minute of the
machine hits them all. On a machine that does other work trust the ratios only, and those little: look at the
spread. Viewers (sink.c), feeders and server share the machine's cores unless `--pin` parts them.
"""
