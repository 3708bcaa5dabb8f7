"""H.264 in RTP (RFC 6184), packetization-mode 1: single NAL units, STAP-A, FU-A. Pure."""

from base64 import b64encode

from common import annexb
from muxer.nal_format import NalFormat, with_lengths
from muxer.payload_format import Piece, cut, room

_STAP_A, _FU_A = 24, 28
_START, _END = 0x80, 0x40
_IMPORTANCE = 0x60  # nal_ref_idc


class H264Format(NalFormat):
    """See the module's docstring."""

    header_bytes = 1
    slices = annexb.H264_SLICES

    @property
    def parameters(self) -> str:
        """RFC 6184 8.1; profile and parameter sets where they are known."""
        sets = self.sets.of(annexb.H264_SPS)
        parameters = "packetization-mode=1"
        if sets and len(sets[0]) >= 4:
            parameters += f";profile-level-id={sets[0][1:4].hex().upper()}"
            encoded = [b64encode(unit).decode() for unit in sets + self.sets.of(annexb.H264_PPS)]
            parameters += f";sprop-parameter-sets={','.join(encoded)}"
        return parameters

    def kind(self, header: int) -> int:
        """See `NalFormat`."""
        return header & 0x1F

    def aggregate(self, units: list[memoryview]) -> bytes:
        """STAP-A (5.7.1)."""
        importance = max(unit[0] & _IMPORTANCE for unit in units)
        return with_lengths(bytes((importance | _STAP_A,)), units)

    def fragment(self, unit: memoryview) -> list[tuple[bytes, Piece]]:
        """FU-A (5.8): the unit's header goes into two bytes before each piece of the rest."""
        indicator, kind = unit[0] & ~0x1F | _FU_A, unit[0] & 0x1F
        pieces = cut(unit[1:], room(2))
        middle = bytes((indicator, kind))
        packets: list[tuple[bytes, Piece]] = [(middle, piece) for piece in pieces]
        packets[0] = bytes((indicator, kind | _START)), pieces[0]
        packets[-1] = bytes((indicator, kind | _END)), pieces[-1]
        return packets
