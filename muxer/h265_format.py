"""H.265 in RTP (RFC 7798) in decoding order, without DONL: single NAL units, AP, FU. Pure."""

from base64 import b64encode

from common import annexb
from muxer.nal_format import NalFormat, with_lengths
from muxer.payload_format import Piece, cut, room

_AP, _FU = 48, 49
_START, _END = 0x80, 0x40
_SETS = {"sprop-vps": annexb.H265_VPS, "sprop-sps": annexb.H265_SPS, "sprop-pps": annexb.H265_PPS}


class H265Format(NalFormat):
    """See the module's docstring."""

    header_bytes = 2
    slices = annexb.H265_SLICES

    @property
    def parameters(self) -> str:
        """The parameter sets (RFC 7798 7.1), where they are known."""
        known = {name: self.sets.of(kind) for name, kind in _SETS.items()}
        return ";".join(
            f"{name}={','.join(b64encode(unit).decode() for unit in units)}"
            for name, units in known.items()
            if units
        )

    def kind(self, header: int) -> int:
        """See `NalFormat`."""
        return header >> 1 & 0x3F

    def aggregate(self, units: list[memoryview]) -> bytes:
        """AP (4.4.2): layer and temporal sub-layer are the lowest of all."""
        layer = min((unit[0] & 1) << 5 | unit[1] >> 3 for unit in units)
        sublayer = min(unit[1] & 7 for unit in units)
        return with_lengths(bytes((_AP << 1 | layer >> 5, (layer & 0x1F) << 3 | sublayer)), units)

    def fragment(self, unit: memoryview) -> list[tuple[bytes, Piece]]:
        """FU (4.4.3): the unit's header goes into three bytes before each piece of the rest."""
        first, second, kind = unit[0] & 0x81 | _FU << 1, unit[1], self.kind(unit[0])
        pieces = cut(unit[2:], room(3))
        middle = bytes((first, second, kind))
        packets: list[tuple[bytes, Piece]] = [(middle, piece) for piece in pieces]
        packets[0] = bytes((first, second, kind | _START)), pieces[0]
        packets[-1] = bytes((first, second, kind | _END)), pieces[-1]
        return packets
