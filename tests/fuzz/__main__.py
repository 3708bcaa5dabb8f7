"""Feed everything that reads what others send with anything at all: `python -m tests.fuzz --help`.

Inputs are found by atheris, which looks at what code they reach, from `tests/fuzz/corpus` on.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.inputs import INPUT_BYTES_MAX, load, save
from tests.fuzz.targets import TARGETS

FAILURES_SHOWN_BYTES = 4000
KEPT_BYTES_MAX = 300  # of a new input


def main() -> int:
    """Returns how many targets failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Needs atheris (pip).")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default all)")
    parser.add_argument("--inputs", type=int, default=1_000_000, metavar="N", help="of each (default %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="another one finds other inputs (default 1)"
    )
    parser.add_argument(
        "--bytes",
        type=int,
        default=INPUT_BYTES_MAX,
        metavar="N",
        help="of the longest input (default %(default)s)",
    )
    parser.add_argument("--keep", action="store_true", help="add to the corpus what reached code that nothing did")
    arguments = parser.parse_args()
    targets = arguments.targets or list(TARGETS)
    unknown = [target for target in targets if target not in TARGETS]
    if unknown:
        parser.error(f"no target {unknown[0]}: choose from {', '.join(TARGETS)}")
    options = arguments.inputs, arguments.seed, arguments.bytes, arguments.keep
    return sum([_fuzz(target, *options) for target in targets])


def _fuzz(target: str, inputs: int, seed: int, bytes_max: int, keep: bool) -> bool:
    """Whether it failed."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        seeds, found, failures = (Path(folder, name) for name in ("seeds", "found", "failures"))
        for path in (seeds, found, failures):
            path.mkdir()
        for number, data in enumerate(load(target)):
            Path(seeds, str(number)).write_bytes(data)
        command = [
            sys.executable, "-m", "tests.fuzz.guided", target, str(found), str(seeds), f"-runs={inputs}",
            f"-seed={seed}", f"-max_len={bytes_max}", f"-artifact_prefix={failures}/", "-timeout=10",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        said = done.stdout + done.stderr
        runs = re.findall(r"^Done (\d+) runs in (\d+) second", said, re.M)
        crashes = [path.read_bytes() for path in failures.iterdir()]
        new = [path.read_bytes() for path in found.iterdir()]
        if crashes or done.returncode or not runs:
            print(f"{target}: FAILED\n{said[-FAILURES_SHOWN_BYTES:]}")
            for data in crashes:
                print(f"input: {data!r}")
            return True
        print(f"{target}: {runs[0][0]} inputs in {runs[0][1]} s, {len(new)} of them reached something new")
        if keep:
            save(target, [*load(target), *(data for data in new if len(data) <= KEPT_BYTES_MAX)])
        return False


if __name__ == "__main__":
    sys.exit(main())
