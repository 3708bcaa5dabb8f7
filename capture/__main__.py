"""`python -m capture`: one capture process, or the list of the cameras of this machine."""

import sys

from capture import worker
from common import role

_DESCRIPTION = "One source: reads it and publishes its samples to the muxer."
_DEVICES = "framegate capture --devices [--json] lists the cameras of this machine instead."


def main(arguments: list[str]) -> int:
    """Returns the exit code (`common.errors`)."""
    if "--devices" in arguments:
        from capture import devices  # with the libraries of cameras

        return devices.main(arguments)
    parser = role.arguments("capture", _DESCRIPTION)
    parser.epilog = _DEVICES
    parser.add_argument(
        "--stream", required=True, metavar="NAME", help="the stream of [streams.NAME] in the settings"
    )
    parsed = parser.parse_args(arguments)
    return role.run(
        "capture", f"capture-{parsed.stream}", parsed.config, lambda shell: worker.run_stream(shell, parsed.stream)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
