"""Lines that nobody looks after: what `server.muxer_client` wants, without a role."""

from common import sockets
from common.lines import End


class Unwatched:
    """See `server.muxer_client.Watcher`."""

    def watch(self, name: str, socket: sockets.Socket, end: End) -> None:
        pass

    def leave(self, socket: sockets.Socket) -> None:
        socket.close()
