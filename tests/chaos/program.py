"""A program that publishes a looped check clip to a running instance: `python -m tests.chaos.program`."""

import sys
import time
from fractions import Fraction
from pathlib import Path

from capture.publisher import Publisher
from common.clock import now_us
from common.errors import SettingsError
from common.sample import Codec, Sample
from tests.support import decoding


def publish(stream: str, runtime_dir: str, clip: Path, fps: int) -> None:
    """Until it is killed."""
    units = [unit for unit in decoding.units(clip) if not unit.audio]
    loop_90k = Fraction(len(units) * 90_000, fps)
    with Publisher(stream, runtime_dir=runtime_dir) as publisher:
        begin_us = now_us()
        number = 0
        while True:
            unit = units[number % len(units)]
            base_90k = number // len(units) * loop_90k - units[0].dts
            time_us, decode_us = (begin_us + int((base_90k + stamp) * 100 / 9) for stamp in (unit.pts, unit.dts))
            wait_us = decode_us - now_us()
            if wait_us > 0:
                time.sleep(wait_us / 1e6)
            decode = decode_us if time_us != decode_us else None
            publisher.write_sample(Sample(unit.data, time_us, Codec.H264, unit.key, decode))
            number += 1


if __name__ == "__main__":
    try:
        publish(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
    except SettingsError as error:
        sys.exit(str(error))
