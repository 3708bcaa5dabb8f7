"""gst-rtsp-server with one shared media, for the system's Python (gir1.2-gst-rtsp-server-1.0, python3-gi).

gst_server.py HOST PORT PICTURES: serves the access units of the directory PICTURES, in a loop, at /cam0. Run by
path, not as a module: the system's Python has none of our packages.
"""

import importlib
import signal
import sys
from typing import Any

FPS = 30
BACKLOG = 4096  # its default of 5 makes hundreds of viewers who join at once wait for SYN retransmissions


def main() -> None:
    """Serve until SIGTERM."""
    gi: Any = importlib.import_module("gi")
    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    glib: Any = importlib.import_module("gi.repository.GLib")
    gst: Any = importlib.import_module("gi.repository.Gst")
    rtsp: Any = importlib.import_module("gi.repository.GstRtspServer")
    host, port, pictures = sys.argv[1:]
    gst.init(None)
    server = rtsp.RTSPServer.new()
    server.set_address(host)
    server.set_service(port)
    server.set_backlog(BACKLOG)
    factory = rtsp.RTSPMediaFactory.new()
    factory.set_shared(True)
    factory.set_launch(
        f"( multifilesrc location={pictures}/%05d.h264 index=0 loop=true"
        f" caps=video/x-h264,stream-format=byte-stream,alignment=au,framerate={FPS}/1"
        " ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
    )
    server.get_mount_points().add_factory("/cam0", factory)
    loop = glib.MainLoop()
    server.attach(None)
    glib.unix_signal_add(glib.PRIORITY_DEFAULT, signal.SIGTERM, loop.quit)
    print("ready", gst.version_string(), flush=True)
    loop.run()


if __name__ == "__main__":
    main()
