"""What the payload formats of H.264 and H.265 have in common. Pure.

A sample is one access unit as Annex B. Its NAL units go without start codes: small ones that follow each other
together in one packet, each of the others in a packet of its own, or in several. Access unit delimiters are left
out, for the marker bit says where a picture ends; parameter sets stand before each sync point.
"""

from collections.abc import Collection
from typing import ClassVar

from common import annexb
from common.annexb import Unit
from common.errors import MediaError
from common.rtp_rows import PAYLOAD_BYTES_MAX
from common.sample import Codec, Track
from muxer.parameter_sets import ParameterSets
from muxer.payload_format import Parts, PayloadFormat, Piece

_LENGTH_BYTES = 2  # before each unit of an aggregation packet


class NalFormat(PayloadFormat):
    """H.264 or H.265."""

    codec: Codec
    header_bytes: ClassVar[int]  # of a NAL unit, and of an aggregation packet
    slices: ClassVar[Collection[int]]

    def __init__(self, track: Track, payload_type: int) -> None:
        super().__init__(track.codec, f"{track.codec.upper()}/{self.rate_hz}", payload_type)
        self.sets = ParameterSets(track.codec, track.config)
        self._delimiter = annexb.AUD_KIND[track.codec]

    def kind(self, header: int) -> int:
        """nal_unit_type, by the unit's first byte."""
        raise NotImplementedError

    def aggregate(self, units: list[memoryview]) -> bytes:
        """Two units or more as one payload."""
        raise NotImplementedError

    def fragment(self, unit: memoryview) -> list[tuple[bytes, Piece]]:
        """A unit that is too long for a packet as the payloads of several."""
        raise NotImplementedError

    def split(self, data: Piece, sync: bool) -> Parts:
        """The payloads of an access unit."""
        view = memoryview(data)
        spans = annexb.nal_units(data)
        if len(spans) == 1 and not sync:  # most pictures are one slice
            only = Unit(self.kind(data[spans[0][0]]), *spans[0])
            if only.kind in self.slices and only.end - only.start > self.header_bytes:
                disposable = annexb.unit_disposable(data, only, self.codec)
                return Parts(self._packets([view[only.start : only.end]]), disposable)
        units = [Unit(self.kind(data[start]), start, end) for start, end in spans]
        if not units:
            raise MediaError(f"an {self.codec.upper()} sample without a start code: give it as Annex B")
        disposable = False
        for unit in units:
            if unit.kind in self.slices:
                disposable = annexb.unit_disposable(data, unit, self.codec)
                break
        wanted = [view[unit.start : unit.end] for unit in units if unit.kind != self._delimiter]
        if sync or len(units) > 1:
            self.sets.learn(data, units)
        if sync and (missing := self.sets.missing({unit.kind for unit in units})):
            sets = memoryview(missing)
            wanted[:0] = [sets[start:end] for start, end in annexb.nal_units(missing)]
        return Parts(self._packets([unit for unit in wanted if len(unit) >= self.header_bytes]), disposable)

    def _packets(self, units: list[memoryview]) -> list[tuple[bytes, Piece]]:
        packets: list[tuple[bytes, Piece]] = []
        together: list[memoryview] = []
        size = 0
        for unit in units:
            more = _LENGTH_BYTES + len(unit)
            if together and size + more > PAYLOAD_BYTES_MAX:
                packets.append((b"", self._one(together)))
                together = []
            if len(unit) > PAYLOAD_BYTES_MAX:
                packets += self.fragment(unit)
                continue
            size = size + more if together else self.header_bytes + more
            together.append(unit)
        if together:
            packets.append((b"", self._one(together)))
        if not packets:
            raise MediaError(f"an {self.codec.upper()} sample with nothing in it")
        return packets

    def _one(self, units: list[memoryview]) -> Piece:
        return units[0] if len(units) == 1 else self.aggregate(units)


def with_lengths(header: bytes, units: list[memoryview]) -> bytes:
    """The payload of an aggregation packet."""
    parts: list[Piece] = [header]
    for unit in units:
        parts += (len(unit).to_bytes(_LENGTH_BYTES, "big"), unit)
    return b"".join(parts)
