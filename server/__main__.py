"""`python -m server`: one server process, as the supervisor starts it."""

import sys

from common.role import arguments, run
from server.worker import Worker


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments and run; returns the exit code."""
    parser = arguments("server", "Serve viewers: frames from the muxers in, RTSP and HTTP out.")
    parser.add_argument(
        "--index", type=int, default=0, metavar="N", help="which of the servers, from 0 (default 0)"
    )
    options = parser.parse_args(argv)
    return run("server", f"server-{options.index}", options.config, lambda role: Worker(role, options.index).run())


if __name__ == "__main__":
    sys.exit(main())
