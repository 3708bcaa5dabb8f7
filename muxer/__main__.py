"""`python -m muxer`: one muxer process, as the supervisor starts it."""

import sys

from common.role import arguments, run
from muxer.worker import Worker


def main(argv: list[str] | None = None) -> int:
    """Parse the arguments and run; returns the exit code."""
    parser = arguments("muxer", "Mux the streams of one shard: samples from captures in, frames for servers out.")
    parser.add_argument("--index", type=int, default=0, metavar="N", help="which shard, from 0 (default 0)")
    options = parser.parse_args(argv)
    return run("muxer", f"muxer-{options.index}", options.config, lambda role: Worker(role, options.index).run())


if __name__ == "__main__":
    sys.exit(main())
