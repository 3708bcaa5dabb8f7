"""AAC in RTP (RFC 3640), mode AAC-hbr: one access unit a packet, or in fragments. Pure."""

from common import adts
from common.adts import AudioConfig
from common.errors import MediaError
from common.sample import Track
from muxer.payload_format import Parts, PayloadFormat, Piece, cut, room

AU_BYTES_MAX = (1 << 13) - 1  # sizelength=13
_HEADER_BITS = (16).to_bytes(2, "big")  # AU-headers-length: one header of 13 + 3 bits
_HEAD_BYTES = 4


class AacFormat(PayloadFormat):
    """See the module's docstring."""

    def __init__(self, track: Track, payload_type: int) -> None:
        if track.config:
            audio = adts.parse_config(track.config)
            self._config = track.config
        elif track.sample_rate_hz and track.channels:
            audio = AudioConfig(adts.AAC_LC, track.sample_rate_hz, track.channels)
            self._config = adts.build_config(audio)
        else:
            raise MediaError("AAC needs its AudioSpecificConfig, or sample rate and channels, in its Track")
        self.rate_hz = audio.sample_rate_hz
        super().__init__(track.codec, f"mpeg4-generic/{self.rate_hz}/{audio.channels}", payload_type)

    @property
    def parameters(self) -> str:
        """RFC 3640 4.1. profile-level-id 1 is what everybody says: decoders go by the config."""
        return (
            "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;"
            f"config={self._config.hex().upper()}"
        )

    def split(self, data: Piece, sync: bool) -> Parts:  # noqa: ARG002
        """The frame behind its size, which each fragment repeats (3.2.1.1)."""
        if len(data) > AU_BYTES_MAX:
            raise MediaError(f"an AAC frame of {len(data)} bytes, at most {AU_BYTES_MAX}")
        head = _HEADER_BITS + (len(data) << 3).to_bytes(2, "big")
        return Parts([(head, piece) for piece in cut(data, room(_HEAD_BYTES))])

    def ticks(self, data: Piece) -> int:  # noqa: ARG002
        """See `PayloadFormat`."""
        return adts.SAMPLES_PER_FRAME
