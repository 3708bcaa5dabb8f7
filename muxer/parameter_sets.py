"""The parameter sets of an H.264 or H.265 track, as they were announced or came by last. Pure."""

from common import annexb
from common.annexb import Unit
from common.sample import CONFIG_BYTES_MAX, Codec


class ParameterSets:
    """config: those that are announced, each with its start code."""

    def __init__(self, codec: Codec, config: bytes) -> None:
        self.kinds = annexb.PARAMETER_SETS[codec]
        self._sets: dict[int, bytes] = {}
        self.learn(config, annexb.leading_units(config, codec))

    def learn(self, data: bytes | memoryview, units: list[Unit]) -> None:
        """Remember those among `units` of an access unit `data`."""
        found: dict[int, bytes] = {}
        for unit in units:
            if unit.kind in self.kinds and unit.end - unit.start <= CONFIG_BYTES_MAX:
                content = bytes(data[unit.start : unit.end])
                found[unit.kind] = found.get(unit.kind, b"") + annexb.LONG_START_CODE + content
        for kind, sets in found.items():
            if len(sets) <= CONFIG_BYTES_MAX:
                self._sets[kind] = sets

    def missing(self, present: set[int]) -> bytes:
        """Those of all kinds but these, each with its start code."""
        return b"".join(self._sets[kind] for kind in self.kinds if kind in self._sets and kind not in present)

    def of(self, kind: int) -> list[bytes]:
        """Those of one kind, without start codes."""
        data = self._sets.get(kind, b"")
        return [data[start:end] for start, end in annexb.nal_units(data)]
