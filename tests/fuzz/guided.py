"""`python -m tests.fuzz.guided TARGET …`: one target under atheris, with libFuzzer's own arguments."""

import sys

import atheris

with atheris.instrument_imports(include=["common", "server"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    target = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[target])
    atheris.Fuzz()
