"""In which order pictures are shown that a file holds in decoding order only (raw H.264 and H.265, AVI). Pure.

The first slice of each picture has the low bits of its picture order count (H.264 8.2.1, H.265 8.3.1). Counts
of one coded video sequence sort; the sequences follow each other. Not read: H.264's pic_order_cnt_type 1, and
counts that a memory management operation sets anew; such pictures stay in decoding order.
"""

import heapq

from common import annexb
from common.errors import MediaError
from common.sample import Codec
from common.sps import Bits, H264Sps, H265Sps, h264_sps, h265_sps

WINDOW_PICTURES = 64  # looked at to learn how far pictures are moved; 16 is the most that decoders hold
_SLICE_BYTES = 64  # of a slice header; the count is among the first 12
_H265_PPS_MAX = 63
_H265_IDR = frozenset({19, 20})
_H265_BLA = frozenset({16, 17, 18})
_H265_LEADING = frozenset({6, 7, 8, 9})  # RADL and RASL: no anchor for the next count

Key = tuple[int, int]  # (coded video sequence, picture order count): sorts in order of presentation


class PictureOrderCounts:
    """Reads the keys of successive pictures of one track."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._h264: H264Sps | None = None
        self._h265: H265Sps | None = None
        self._pps: dict[int, tuple[int, bool]] = {}  # H.265: id → (extra slice header bits, output flag present)
        self._sequence = 0
        self._anchor = 0  # the count that the next one is nearest to

    def read(self, au: bytes) -> Key:
        """The key of the next picture. One that cannot be read comes after all before it."""
        try:
            units = annexb.leading_units(au, self._codec)
            for unit in units:
                self._take_parameters(unit.kind, au[unit.start : unit.end])
            if units:
                slice_ = units[-1]
                header = au[slice_.start : slice_.start + _SLICE_BYTES]
                if self._codec is Codec.H264 and slice_.kind in annexb.H264_SLICES:
                    return self._read_h264(slice_.kind, header)
                if self._codec is Codec.H265 and slice_.kind in annexb.H265_SLICES:
                    return self._read_h265(slice_.kind, header)
        except MediaError:
            pass  # damaged: as one without a count
        return self._start()

    def _start(self) -> Key:
        self._sequence += 1
        self._anchor = 0
        return self._sequence, 0

    def _take_parameters(self, kind: int, unit: bytes) -> None:
        if self._codec is Codec.H264:
            if kind == annexb.H264_SPS:
                self._h264 = h264_sps(unit)
        elif kind == annexb.H265_SPS:
            self._h265 = h265_sps(unit)
        elif kind == annexb.H265_PPS:
            bits = Bits(unit[:_SLICE_BYTES], header_bytes=2)
            number = bits.ue()
            bits.ue()  # pps_seq_parameter_set_id
            bits.skip(1)  # dependent_slice_segments_enabled_flag
            output_flag_present = bool(bits.u(1))
            if number <= _H265_PPS_MAX:
                self._pps[number] = (bits.u(3), output_flag_present)

    def _read_h264(self, kind: int, header: bytes) -> Key:
        sps = self._h264
        if sps is None or sps.order_type != 0:
            return self._start()
        bits = Bits(header, header_bytes=1)
        bits.ue()  # first_mb_in_slice
        bits.ue()  # slice_type
        bits.ue()  # pic_parameter_set_id
        bits.skip(2 * sps.separate_planes + sps.frame_num_bits)
        if not sps.frames_only and bits.u(1):
            bits.skip(1)  # bottom_field_flag
        if kind == annexb.H264_IDR:
            bits.ue()  # idr_pic_id
            self._start()
        count = self._count(bits.u(sps.order_lsb_bits), sps.order_lsb_bits)
        if header[0] & 0x60:  # a reference picture
            self._anchor = count
        return self._sequence, count

    def _read_h265(self, kind: int, header: bytes) -> Key:
        sps = self._h265
        if sps is None or kind in _H265_IDR:
            return self._start()
        bits = Bits(header, header_bytes=2)
        bits.skip(1)  # first_slice_segment_in_pic_flag
        if kind in annexb.H265_IRAP:
            bits.skip(1)  # no_output_of_prior_pics_flag
        extra_bits, output_flag_present = self._pps.get(bits.ue(), (0, False))
        bits.skip(extra_bits)
        bits.ue()  # slice_type
        bits.skip(output_flag_present + 2 * sps.separate_planes)
        low = bits.u(sps.order_lsb_bits)
        if kind in _H265_BLA or self._sequence == 0:
            self._start()
            count = low
        else:
            count = self._count(low, sps.order_lsb_bits)
        highest_layer_only = kind in annexb.H265_DISPOSABLE
        if header[1] & 7 == 1 and kind not in _H265_LEADING and not highest_layer_only:  # TemporalId 0
            self._anchor = count
        return self._sequence, count

    def _count(self, low: int, low_bits: int) -> int:
        """The count with these low bits that is nearest to the anchor."""
        span = 1 << low_bits
        count = self._anchor - self._anchor % span + low
        if count - self._anchor >= span // 2 + 1:
            return count - span
        if self._anchor - count >= span // 2:
            return count + span
        return count


class PresentationOrder:
    """Gives each picture its place among those shown.

    A place is counted from the first picture decoded, and `delay` pictures late, so that it is never before
    the picture's own turn to be decoded.
    """

    def __init__(self) -> None:
        self.delay: int | None = None  # in pictures; known after WINDOW_PICTURES of them
        self._window: list[Key] = []
        self._held: list[tuple[Key, int]] = []  # heap: pictures whose place is not known
        self._places: dict[int, int] = {}  # by turn in decoding order, of those not given out
        self._decoded = self._shown = self._given = 0

    def push(self, key: Key) -> list[int]:
        """The next picture in decoding order; returns the places that are known now, in decoding order."""
        if self.delay is None:
            self._window.append(key)
            return self._leave_window() if len(self._window) == WINDOW_PICTURES else []
        self._hold(key)
        return self._known()

    def flush(self) -> list[int]:
        """No more pictures: the places of the others."""
        places = self._leave_window() if self.delay is None else []
        while self._held:
            self._show()
        return places + self._known()

    def _leave_window(self) -> list[int]:
        keys = self._window
        # As many pictures as come earlier and are shown later than some picture.
        self.delay = max(
            (sum(earlier > key for earlier in keys[:turn]) for turn, key in enumerate(keys)), default=0
        )
        for key in keys:
            self._hold(key)
        self._window = []
        return self._known()

    def _hold(self, key: Key) -> None:
        assert self.delay is not None
        heapq.heappush(self._held, (key, self._decoded))
        self._decoded += 1
        if len(self._held) > self.delay:
            self._show()

    def _show(self) -> None:
        assert self.delay is not None
        _, turn = heapq.heappop(self._held)
        self._places[turn] = max(self._shown + self.delay, turn)
        self._shown += 1

    def _known(self) -> list[int]:
        places = []
        while self._given in self._places:
            places.append(self._places.pop(self._given))
            self._given += 1
        return places
