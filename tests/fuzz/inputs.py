"""The inputs known to lead into every corner: a file a target, an input a line (JSON, a character a byte)."""

import json
import random
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"
INPUT_BYTES_MAX = 8192


def load(target: str) -> list[bytes]:
    """The inputs of a target."""
    lines = (FOLDER / f"{target}.jsonl").read_text(encoding="ascii").splitlines()
    return [json.loads(line).encode("latin-1") for line in lines]


def save(target: str, inputs: list[bytes]) -> None:
    """Write the inputs of a target, each once."""
    lines = sorted({json.dumps(data.decode("latin-1")) for data in inputs}, key=lambda line: (len(line), line))
    (FOLDER / f"{target}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="ascii")


def mutated(inputs: list[bytes], rng: random.Random) -> bytes:
    """One of the inputs with some damage: bytes changed, left out, said twice, or taken from another."""
    data = bytearray(rng.choice(inputs))
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 2, 8, 64)))
        match rng.randrange(6):
            case 0:
                data[at : at + 1] = bytes((rng.randrange(256),))
            case 1:
                del data[at:end]
            case 2:
                data[at:at] = data[at:end] * rng.choice((1, 2, 40))
            case 3:
                other = rng.choice(inputs)
                start = rng.randrange(len(other) + 1)
                data[at:end] = other[start : start + rng.choice((4, 32, 512))]
            case 4:
                data[at:at] = rng.choice(
                    (b"\r\n", b"\n", b":", b",", b";", b'"', b"=", b"$", b"\0", b"\xff", b"%")
                )
            case 5:
                data[at:at] = rng.choice((b"-1", b"0", b"4294967296", b"99999999999999999999", b"65536"))
    return bytes(data[:INPUT_BYTES_MAX])
