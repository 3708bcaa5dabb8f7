"""NAL units, parameter sets, and what they say; against libavformat's and libavcodec's own output."""

import io
from collections.abc import Callable
from fractions import Fraction

import av
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from common import annexb
from common.annexb import Unit
from common.errors import MediaError
from common.sample import Codec
from tests.support import clips

SHORT, LONG = b"\0\0\1", b"\0\0\0\1"
VIDEO = (Codec.H264, Codec.H265)
# Bytes that make start codes, zeros and unit headers likely
LIKELY = st.lists(
    st.one_of(
        st.sampled_from([b"\0", SHORT, LONG, b"\x09\xf0", b"\x65", b"\x41", b"\x46\x01"]), st.binary(max_size=4)
    ),
    max_size=60,
).map(b"".join)


def h264(kind: int, content: bytes = b"\x88", importance: int = 3) -> bytes:
    """An H.264 unit without start code."""
    return bytes((importance << 5 | kind,)) + content


def h265(kind: int, content: bytes = b"\x88") -> bytes:
    """An H.265 unit without start code."""
    return bytes((kind << 1, 1)) + content


def stream(*units: bytes, code: bytes = LONG) -> bytes:
    """Annex B."""
    return b"".join(code + unit for unit in units)


# ---- units ----------------------------------------------------------------------------------------------


@given(LIKELY)
@example(b"")
@example(b"\0\0\1")
@example(b"\0\0\1\0\0\1\x65")
@example(b"\0\0\0\1\x65\0\0\0\0\0\1\x41\0\0")
def test_units_are_what_stands_between_start_codes(data: bytes) -> None:
    pieces = data.split(SHORT)[1:]
    expected = [piece.rstrip(b"\0") for piece in pieces if piece.rstrip(b"\0")]
    assert [data[a:b] for a, b in annexb.nal_units(data)] == expected
    assert [data[a:b] for a, b in annexb.nal_units(memoryview(data))] == expected


@given(LIKELY, st.sampled_from(VIDEO))
def test_leading_units_are_the_first_of_all_units(data: bytes, codec: Codec) -> None:
    units = annexb.leading_units(data, codec)
    assert units == annexb.leading_units(memoryview(data), codec)
    before, *pieces = data.split(SHORT)
    assume(all(piece.strip(b"\0") for piece in pieces))  # nothing but zeros: a slice by its first byte alone
    begins = bool(pieces) and not before.strip(b"\0")
    every = annexb.nal_units(data) if begins else []
    assert [unit.start for unit in units] == [start for start, _ in every][: len(units)]
    slices = annexb.H264_SLICES if codec is Codec.H264 else annexb.H265_SLICES
    assert not any(unit.kind in slices for unit in units[:-1])
    if len(units) < len(every):
        assert units[-1].kind in slices
    if units and units[-1].kind in slices:
        assert units[-1].end == len(data)


@pytest.mark.parametrize("code", [SHORT, LONG, b"\0\0\0\0\0\1"])
@pytest.mark.parametrize("filler", [0, 100, 240, 255, 256, 257, 300, 5000])
def test_leading_units_are_found_however_long_they_are(code: bytes, filler: int) -> None:
    """Also across the end of the piece that is looked at first."""
    sei = h264(6, bytes(range(1, 200)) * 26)[: 1 + filler]
    au = stream(h264(9, b"\xf0"), sei, h264(7), h264(8), h264(5, b"\x88" * 10_000), h264(5), code=code)
    units = annexb.leading_units(au, Codec.H264)
    assert [unit.kind for unit in units] == [9, 6, 7, 8, 5]
    assert au[units[1].start : units[1].end] == sei
    assert units[-1] == Unit(5, au.index(b"\x65\x88"), len(au))


def test_the_number_of_units_is_limited() -> None:
    most = stream(*[h264(6)] * annexb.NAL_UNITS_MAX)
    assert len(annexb.nal_units(most)) == len(annexb.leading_units(most, Codec.H264)) == annexb.NAL_UNITS_MAX
    for ask in (annexb.nal_units, lambda au: annexb.leading_units(au, Codec.H264)):
        with pytest.raises(MediaError, match="over 4096 NAL units"):
            ask(most + stream(h264(6)))


def test_what_is_no_byte_stream_has_no_units() -> None:
    for data in (b"", b"\0", bytes(1000), b"\0\0\1", b"\0\0\0\x0e\x65" + SHORT + b"\x65", b"\xff\xd8\xff"):
        assert annexb.leading_units(data, Codec.H264) == []
        assert not annexb.is_sync(data, Codec.H264)
        assert not annexb.has_aud(data, Codec.H264)
        assert not annexb.disposable(data, Codec.H264)
        assert annexb.parameter_sets(data, Codec.H264) == b""


# ---- what they say --------------------------------------------------------------------------------------


def test_sync_points() -> None:
    for kind in range(1, 6):
        assert annexb.is_sync(stream(h264(9), h264(kind)), Codec.H264) == (kind == 5)
    for kind in range(32):
        assert annexb.is_sync(stream(h265(35), h265(kind)), Codec.H265) == (16 <= kind <= 23)
    recovery_point = h264(6, b"\x06\x01\xc4\x80")
    assert not annexb.is_sync(stream(h264(7), h264(8), recovery_point, h264(1)), Codec.H264)
    assert not annexb.is_sync(stream(h264(7), h264(8)), Codec.H264)


def test_disposable_pictures() -> None:
    for importance in range(4):
        assert annexb.disposable(stream(h264(6, importance=0), h264(1, importance=importance)), Codec.H264) == (
            importance == 0
        )
    disposable = {kind for kind in range(32) if annexb.disposable(stream(h265(kind)), Codec.H265)}
    assert disposable == {0, 2, 4, 6, 8, 10, 12, 14}
    assert not annexb.disposable(stream(h264(6, importance=0)), Codec.H264)


def test_delimiters() -> None:
    for codec in VIDEO:
        delimiter = annexb.AUD[codec]
        assert annexb.has_aud(delimiter, codec)
        assert annexb.has_aud(delimiter[1:] + stream(h264(5)), codec)
    assert not annexb.has_aud(stream(h264(5)), Codec.H264)
    assert not annexb.has_aud(stream(h264(7), h264(9), h264(5)), Codec.H264)


def test_parameter_sets_come_with_long_start_codes_in_their_order() -> None:
    au = stream(h264(9), h264(7, b"a"), h264(8, b"b"), h264(6), h264(8, b"c"), h264(5), h264(8, b"d"), code=SHORT)
    assert annexb.parameter_sets(au, Codec.H264) == stream(h264(7, b"a"), h264(8, b"b"), h264(8, b"c"))
    au = stream(h265(32, b"a"), h265(33, b"b"), h265(34, b"c"), h265(39), h265(19), code=SHORT)
    assert annexb.parameter_sets(au, Codec.H265) == stream(h265(32, b"a"), h265(33, b"b"), h265(34, b"c"))


@pytest.mark.parametrize("codec", VIDEO)
def test_a_real_encoder_is_understood(codec: Codec) -> None:
    track, samples = clips.video(codec, b_pictures=2)
    syncs = [number for number, sample in enumerate(samples) if annexb.is_sync(sample.data, codec)]
    assert syncs == [0, 10, 20]
    for number, sample in enumerate(samples):
        assert bool(annexb.parameter_sets(sample.data, codec)) == (number in syncs)
    disposable = sum(annexb.disposable(sample.data, codec) for sample in samples)
    assert disposable == 9
    assert annexb.picture_size(track.config, codec) == (clips.WIDTH, clips.HEIGHT)


# ---- sizes ----------------------------------------------------------------------------------------------


@given(st.data(), st.sampled_from(VIDEO))
def test_a_damaged_real_sps_gives_a_size_or_media_error(data: st.DataObject, codec: Codec) -> None:
    config = bytearray(clips.video(codec, pictures=2)[0].config)
    for _ in range(data.draw(st.integers(1, 4))):
        config[data.draw(st.integers(0, len(config) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        annexb.picture_size(bytes(config), codec)
    except MediaError:
        pass


def test_a_config_without_sps_has_no_size() -> None:
    for codec in VIDEO:
        for config in (b"", stream(h264(8)), b"nothing"):
            with pytest.raises(MediaError, match=f"no sequence parameter set in the {codec.upper()}"):
                annexb.picture_size(config, codec)


# ---- lengths instead of start codes -----------------------------------------------------------------------


def in_mp4(codec: Codec) -> tuple[bytes, list[bytes]]:
    """What libavformat makes of a clip in MP4: the configuration record and the samples."""
    _, samples = clips.video(codec, b_pictures=2)
    file = io.BytesIO()
    raw = io.BytesIO(b"".join(bytes(sample.data) for sample in samples))
    with (
        av.open(raw, "r", format="h264" if codec is Codec.H264 else "hevc") as template,
        av.open(file, "w", format="mp4") as container,
    ):
        out = container.add_stream_from_template(template.streams.video[0])
        for sample in samples:
            packet = av.Packet(bytes(sample.data))
            packet.time_base = Fraction(1, 30)
            packet.stream = out
            packet.pts, packet.dts = round(sample.time_us * 30e-6), round(sample.order_us * 30e-6)
            packet.is_keyframe = sample.sync
            container.mux(packet)
    with av.open(io.BytesIO(file.getvalue()), "r") as container:
        extradata = bytes(container.streams.video[0].codec_context.extradata or b"")
        return extradata, [bytes(packet) for packet in container.demux(video=0) if packet.size]


@pytest.mark.parametrize("codec", VIDEO)
def test_mp4_is_turned_back_to_annex_b(codec: Codec) -> None:
    record, lengths = in_mp4(codec)
    track, samples = clips.video(codec, b_pictures=2)
    read = annexb.config_from_avcc if codec is Codec.H264 else annexb.config_from_hvcc
    config, length_size = read(record)
    assert config == track.config
    assert length_size == 4
    for sample, prefixed in zip(samples, lengths, strict=True):
        turned = annexb.annexb_from_lengths(memoryview(prefixed), length_size)
        before = [sample.data[a:b] for a, b in annexb.nal_units(sample.data)]
        after = [turned[a:b] for a, b in annexb.nal_units(turned)]
        # MP4 may leave out in the samples what stands in the record.
        assert after == [unit for unit in before if unit in after]
        assert before[-1] == after[-1]


@given(st.lists(st.binary(min_size=1, max_size=255), max_size=10), st.sampled_from([1, 2, 4]))
def test_lengths_become_start_codes(units: list[bytes], length_size: int) -> None:
    sample = b"".join(len(unit).to_bytes(length_size, "big") + unit for unit in units)
    assert annexb.annexb_from_lengths(sample, length_size) == stream(*units)
    if units:
        with pytest.raises(MediaError, match="longer than its sample"):
            annexb.annexb_from_lengths(sample[:-1], length_size)


def test_empty_units_are_left_out_and_their_number_is_limited() -> None:
    assert annexb.annexb_from_lengths(b"\0\0\0\0\0\0\0\1\x65", 4) == LONG + b"\x65"
    assert annexb.annexb_from_lengths(b"\0" * 100_000, 1) == b""
    with pytest.raises(MediaError, match="over 4096"):
        annexb.annexb_from_lengths(b"\1\x65" * 4097, 1)


@pytest.mark.parametrize("codec", VIDEO)
def test_a_record_cut_anywhere_is_refused(codec: Codec) -> None:
    record, _ = in_mp4(codec)
    read = annexb.config_from_avcc if codec is Codec.H264 else annexb.config_from_hvcc
    whole = read(record)
    for size in range(len(record)):
        try:
            cut = read(record[:size])
        except MediaError:
            continue
        assert cut == whole, "only what comes behind the sets may be missing"


@pytest.mark.parametrize("codec", VIDEO)
def test_the_starts_of_slices_say_what_the_units_say(codec: Codec) -> None:
    slices = annexb.H264_SLICES if codec is Codec.H264 else annexb.H265_SLICES
    for header in range(256):
        start = LONG + bytes((header,))
        au = start + b"\x80"
        is_slice = annexb.leading_units(au, codec)[0].kind in slices
        assert annexb.SLICE_STARTS[codec].get(start) == (annexb.disposable(au, codec) if is_slice else None)


def test_lengths_of_3_bytes_are_refused() -> None:
    for read, record in (
        (annexb.config_from_avcc, b"\1\x64\0\x1e\xfe\xe0\0"),
        (annexb.config_from_hvcc, b"\1" + bytes(20) + b"\x02\0"),
    ):
        with pytest.raises(MediaError, match="3 bytes"):
            read(record)


@given(LIKELY, st.integers(-1, 5))
def test_any_bytes_give_an_answer_or_media_error(data: bytes, length_size: int) -> None:
    asks: list[Callable[[], object]] = [
        lambda: annexb.config_from_avcc(data),
        lambda: annexb.config_from_hvcc(b"\1" + bytes(20) + data),
        lambda: annexb.config_from_avcc(b"\1" + data),
        lambda: annexb.annexb_from_lengths(data, length_size) if length_size in (1, 2, 4) else None,
    ]
    for codec in VIDEO:
        asks += [
            lambda codec=codec: annexb.has_aud(data, codec),  # type: ignore[misc]
            lambda codec=codec: annexb.is_sync(data, codec),  # type: ignore[misc]
            lambda codec=codec: annexb.disposable(data, codec),  # type: ignore[misc]
            lambda codec=codec: annexb.parameter_sets(data, codec),  # type: ignore[misc]
            lambda codec=codec: annexb.picture_size(data, codec),  # type: ignore[misc]
        ]
    for ask in asks:
        try:
            ask()
        except MediaError:
            pass


@given(
    st.lists(st.sampled_from([b"\0", b"\0\0", b"\1", b"\0\0\1", b"\0\0\3\1", b"\x65"]), max_size=40).map(b"".join)
)
def test_units_are_found_at_every_start_code(data: bytes) -> None:
    found, at = [], data.find(b"\0\0\1")
    while at >= 0:
        following = data.find(b"\0\0\1", at + 3)
        unit = data[at + 3 : following if following >= 0 else None].rstrip(b"\0")
        if unit:
            found.append(unit)
        at = following
    assert [data[start:end] for start, end in annexb.nal_units(data)] == found
