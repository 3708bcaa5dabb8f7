"""`python -m capture`: one capture process, or the list of the cameras of this machine."""

import sys

from capture.worker import Worker
from common import role
from common.captures import OWN, SHARED

_DESCRIPTION = "One source, or several files: reads it and publishes its samples to the muxer."
_DEVICES = "framegate capture --devices [--json] lists the cameras of this machine instead."


def main(arguments: list[str]) -> int:
    """Returns the exit code (`common.errors`)."""
    if "--devices" in arguments:
        from capture import devices  # with the libraries of cameras

        return devices.main(arguments)
    parser = role.arguments("capture", _DESCRIPTION)
    parser.epilog = _DEVICES
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--stream", metavar="NAME", help="the stream of [streams.NAME] in the settings")
    which.add_argument(
        "--files", type=int, metavar="INDEX", help="instead: all files that this process has, of processes.files"
    )
    parsed = parser.parse_args(arguments)
    name = f"{OWN}{parsed.stream}" if parsed.files is None else f"{SHARED}{parsed.files}"
    return role.run("capture", name, parsed.config, lambda shell: Worker(shell, name).run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
