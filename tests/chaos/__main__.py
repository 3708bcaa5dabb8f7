"""Do everything to an instance that may happen to it: `python -m tests.chaos --help`."""

import argparse
import sys
from pathlib import Path

from tests.chaos.soak import soak

BLAMES_SHOWN_MAX = 40


def main() -> int:
    """Returns 0 where nothing was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, metavar="N", help="how long (default %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="another one does other things (default 1)"
    )
    parser.add_argument("--log", type=Path, metavar="FILE", help="where the instance's log goes")
    arguments = parser.parse_args()
    outcome = soak(arguments.seed, arguments.minutes * 60, arguments.log)
    width = max((len(name) for name, _ in outcome.table), default=0)
    for name, text in outcome.table:
        print(f"{name:<{width}}  {text}")
    for blame in outcome.blames[:BLAMES_SHOWN_MAX]:
        print(f"FAULT at {blame.at_s:.1f} s, seed {outcome.seed}: {blame.text}")
    return 1 if outcome.blames else 0


if __name__ == "__main__":
    sys.exit(main())
