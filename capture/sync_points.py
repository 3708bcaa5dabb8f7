"""Makes sync points whole: a decoder that starts at one finds the parameter sets in it. Pure.

Cameras, hardware encoders and files differ: parameter sets before every IDR, before the first one only, in a
buffer of their own without a picture, or beside the stream. Here they all become the same.
"""

from typing import NamedTuple

from common import annexb
from common.errors import MediaError
from common.sample import CONFIG_BYTES_MAX, Codec

_SLICES = {Codec.H264: annexb.H264_SLICES, Codec.H265: annexb.H265_SLICES}


class AccessUnit(NamedTuple):
    """One picture as Annex B. sync: a decoder can start here, and the parameter sets are in it."""

    data: bytes
    sync: bool


class SyncPoints:
    """One H.264 or H.265 track on its way.

    config: the parameter sets of the last sync point, Annex B, each with its start code; empty before one.
    """

    def __init__(self, codec: Codec, config: bytes = b"") -> None:
        self.codec = codec
        self.config = config
        self._lead = b""  # came without a picture, and belongs to the next one

    def feed(self, data: bytes) -> AccessUnit | None:
        """The next access unit, made whole; None where there was no picture in it.

        Raises MediaError if `data` is not Annex B, or has parameter sets beyond CONFIG_BYTES_MAX.
        """
        units = annexb.leading_units(data, self.codec)
        if not units:
            raise MediaError(f"a picture that is no {self.codec.upper()} byte stream")
        if units[-1].kind not in _SLICES[self.codec]:
            if len(self._lead) + len(data) > CONFIG_BYTES_MAX:
                raise MediaError(f"over {CONFIG_BYTES_MAX} bytes without a picture")
            self._lead += data
            return None
        if self._lead:
            data, self._lead = self._lead + data, b""
            units = annexb.leading_units(data, self.codec)
        if units[-1].kind not in annexb.SYNC_SLICES[self.codec]:
            return AccessUnit(data, False)
        sets = annexb.parameter_sets(data, self.codec)
        if len(sets) > CONFIG_BYTES_MAX:
            raise MediaError(f"{len(sets)} bytes of parameter sets, at most {CONFIG_BYTES_MAX}")
        if sets:
            self.config = sets
            return AccessUnit(data, True)
        if not self.config:
            return AccessUnit(data, False)
        # Behind the access unit delimiter, which must stay the first (H.264 7.4.1.2.3, H.265 7.4.2.4.4).
        at = units[0].end if units[0].kind == annexb.AUD_KIND[self.codec] else 0
        return AccessUnit(data[:at] + self.config + data[at:], True)
