"""Is this a conforming stream of RTP packets of MP2T? As independent of the muxer as `ts_check`."""

from tests.support.ts_check import PACKET


class RtpCheck:
    """The RTP packets of one viewer, without `$` headers, in the order in which they came."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.packets = 0
        self.markers = 0
        self._sequence: int | None = None
        self._clock: int | None = None
        self.ssrc: int | None = None

    def feed(self, packet: bytes | memoryview) -> None:
        """The next packet (RFC 3550 5.1, RFC 2250 2)."""
        packet = bytes(packet)
        number = self.packets
        self.packets += 1
        if len(packet) < 12 or packet[0] != 0x80 or packet[1] & 0x7F != 33:
            self.errors.append(f"packet {number}: no RTP header of MP2T")
            return
        payload = packet[12:]
        count, rest = divmod(len(payload), PACKET)
        if rest or not 1 <= count <= 7 or any(payload[at] != 0x47 for at in range(0, len(payload), PACKET)):
            self.errors.append(f"packet {number}: the payload is no 1 to 7 TS packets")
        sequence, clock, ssrc = (int.from_bytes(packet[a:b], "big") for a, b in ((2, 4), (4, 8), (8, 12)))
        if self._sequence is not None and sequence != (self._sequence + 1) & 0xFFFF:
            self.errors.append(f"packet {number}: sequence {sequence} behind {self._sequence}")
        if self.ssrc is not None and ssrc != self.ssrc:
            self.errors.append(f"packet {number}: SSRC {ssrc:#x}, was {self.ssrc:#x}")
        marker = bool(packet[1] & 0x80)
        self.markers += marker
        if self._clock is not None and not marker and (clock - self._clock) & 0xFFFFFFFF >= 1 << 31:
            self.errors.append(f"packet {number}: the timestamp goes back and no marker says so")
        self._sequence, self._clock, self.ssrc = sequence, clock, ssrc


def rtp_packets(data: bytes | memoryview) -> list[bytes]:
    """The RTP packets of interleaved bytes, all of which must be whole `$` frames of channel 0."""
    packets, at = [], 0
    data = bytes(data)
    while at < len(data):
        assert data[at : at + 2] == b"$\0", f"no interleaving header at {at}"
        end = at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        assert end <= len(data), "the last interleaved frame is cut short"
        packets.append(data[at + 4 : end])
        at = end
    return packets
