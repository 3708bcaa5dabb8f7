"""What libavformat and libavcodec make of the TS muxer's streams."""

import io
from collections.abc import Sequence

import av
import numpy as np
import pytest

from common import annexb, grid
from common.clock import PTS_WRAP, ticks_90k
from common.sample import Codec, Sample
from muxer.mpegts import TsMuxer
from tests.muxer.ts_muxers import checked
from tests.support import clips

TS_AUDIO = (Codec.AAC, Codec.MP2, Codec.MP3, Codec.AC3, Codec.OPUS)


def demuxed(ts: bytes) -> dict[int, list[tuple[bytes, int, int]]]:
    """What libavformat reads: data, PTS and DTS of every packet, by PID."""
    found: dict[int, list[tuple[bytes, int, int]]] = {}
    with av.open(io.BytesIO(ts), "r", format="mpegts") as container:
        for packet in container.demux():
            if packet.size:
                assert packet.pts is not None
                assert packet.dts is not None
                read = bytes(packet), packet.pts % PTS_WRAP, packet.dts % PTS_WRAP
                found.setdefault(packet.stream.id, []).append(read)
    return found


def shifted(samples: Sequence[Sample], by_us: int) -> list[Sample]:
    return [
        Sample(
            sample.data,
            sample.time_us + by_us,
            sample.codec,
            sample.sync,
            None if sample.decode_time_us is None else sample.decode_time_us + by_us,
        )
        for sample in samples
    ]


@pytest.mark.parametrize("start_us", [10_000_000, (PTS_WRAP * 100 // 9) - 500_000])
@pytest.mark.parametrize("audio_codec", TS_AUDIO)
@pytest.mark.parametrize(("video_codec", "b_pictures"), [(Codec.H264, 0), (Codec.H264, 3), (Codec.H265, 2)])
def test_libavformat_reads_what_was_written(
    video_codec: Codec, b_pictures: int, audio_codec: Codec, start_us: int
) -> None:
    """Every byte and time of every sample, also where 33 bits of PTS end."""
    video_track, pictures = clips.video(video_codec, b_pictures=b_pictures)
    audio_track, sounds = clips.audio(audio_codec)
    samples = sorted(shifted(pictures + sounds, start_us), key=lambda sample: sample.order_us)
    muxer = TsMuxer((video_track, audio_track), ssrc=1)
    frames = [muxer.write(sample, sample.order_us) for sample in samples]
    report = checked(frames)
    assert not report.errors
    ts = b"".join(grid.without_rtp(frame.data) for frame in frames)
    found = demuxed(ts)
    assert set(found) == {grid.VIDEO_PID, grid.AUDIO_PID}

    delimiter = annexb.AUD[video_codec]
    assert found[grid.VIDEO_PID] == [
        (
            sample.data if annexb.has_aud(sample.data, video_codec) else delimiter + bytes(sample.data),
            ticks_90k(sample.time_us) % PTS_WRAP,
            ticks_90k(sample.order_us) % PTS_WRAP,
        )
        for sample in samples
        if sample.codec is video_codec
    ]
    skip = 7 if audio_codec is Codec.AAC else 0  # ADTS
    assert [(data[skip:], pts) for data, pts, _ in found[grid.AUDIO_PID]] == [
        (sample.data, ticks_90k(sample.time_us) % PTS_WRAP) for sample in samples if sample.codec is audio_codec
    ]


@pytest.mark.parametrize("codec", TS_AUDIO)
def test_libavcodec_plays_audio_alone(codec: Codec) -> None:
    """What was a second of tone is one again: the PMT says all that a decoder needs."""
    track, samples = clips.audio(codec)
    muxer = TsMuxer((track,), ssrc=1)
    frames = [muxer.write(sample, sample.time_us) for sample in samples]
    assert not checked(frames).errors
    ts = b"".join(grid.without_rtp(frame.data) for frame in frames)
    with av.open(io.BytesIO(ts), "r", format="mpegts") as container:
        decoded = list(container.decode(audio=0))
        stream = container.streams.audio[0]
        # One decoder reads both layers, so a stream of one second may still be called the other.
        names = {Codec.MP2: "mp3float", Codec.MP3: "mp3float"}
        assert stream.codec_context.name == names.get(codec, codec.value)
        assert stream.codec_context.sample_rate == 48_000
        assert stream.codec_context.channels == 2
    assert 0.9 * 48_000 < sum(frame.samples for frame in decoded) <= 1.1 * 48_000
    middle = decoded[len(decoded) // 2].to_ndarray().astype(float)
    assert float(np.abs(middle).max()) > 0.1
