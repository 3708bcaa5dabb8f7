"""`python -m capture --devices`: the cameras of this machine, as text or JSON."""

import argparse
import sys
from collections.abc import Iterator, Sequence

import msgspec

from capture import camera_controls, camera_modes
from capture.camera_modes import Camera, OfferedFormat, OfferedSize
from common.errors import EXIT_OK

NONE_FOUND = "No camera found: there is no /dev/video* that gives pictures.\n"


def main(arguments: list[str]) -> int:
    """Print the list; returns the exit code."""
    parser = argparse.ArgumentParser(prog="framegate devices", description="The cameras of this machine.")
    parser.add_argument("--devices", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true", help="as JSON, one list of objects")
    parsed = parser.parse_args(arguments)
    from capture.v4l2 import cameras  # not for those who only ask for --help

    found = cameras()
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n" if parsed.json else as_text(found))
    return EXIT_OK


def as_text(cameras: list[Camera]) -> str:
    """The cameras, their formats, sizes and rates, for a person."""
    if not cameras:
        return NONE_FOUND
    return "\n".join("\n".join(_lines(camera)) + "\n" for camera in cameras)


def _lines(camera: Camera) -> list[str]:
    number = camera.device.removeprefix("/dev/video")
    lines = [f"camera:{number}  {camera.name or camera.device}" + (f"  ({camera.bus})" if camera.bus else "")]
    lines += [f"    also camera:{link}" for link in camera.links]
    if camera.problem:
        lines.append(f"    {camera.problem}")
    lines += [f"    {text}" for text in _formats(camera.formats)]
    if camera.controls:
        lines.append("    controls")
        lines += [f"        {camera_controls.in_words(control)}" for control in camera.controls]
    return lines


def _formats(formats: Sequence[OfferedFormat]) -> Iterator[str]:
    """Those that can be used with their sizes, said once where several have the same."""
    usable = [offer for offer in formats if camera_modes.usable(offer.fourcc, "auto")]
    alike: dict[tuple[object, ...], list[OfferedFormat]] = {}
    for offer in usable:
        alike.setdefault((offer.sizes, offer.ranges), []).append(offer)
    for group in alike.values():
        yield from (f"{offer.fourcc}  {offer.description}" for offer in group)
        yield from (f"    {text}" for text in _sizes(group[0]))
    others = [offer.fourcc.strip() for offer in formats if offer not in usable]
    if others:
        yield f"formats that cannot be used: {', '.join(others)}"


def _sizes(offer: OfferedFormat) -> list[str]:
    texts = [f"{size.width}x{size.height}{_rates(size)}" for size in offer.sizes]
    texts += [
        f"{sizes.width_min}x{sizes.height_min} to {sizes.width_max}x{sizes.height_max}"
        f" in steps of {sizes.width_step}x{sizes.height_step}"
        for sizes in offer.ranges
    ]
    return texts


def _rates(size: OfferedSize) -> str:
    return f" at {', '.join(f'{fps:g}' for fps in size.fps)} fps" if size.fps else ""
