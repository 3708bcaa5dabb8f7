"""Real clients play, without one error, what a file with B-pictures and the generated picture give."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import av.logging
import pytest

from tests.support import check_picture, players
from tests.support.check_picture import CheckClip
from tests.support.decoding import TICKS_90K, Unit, units
from tests.support.file_times import check_distances, check_times
from tests.support.instance import PATIENT, Instance

pytestmark = pytest.mark.interop

SECONDS = 3
PICTURES = SECONDS * 25
VLC_KEEPS_EVERY = 5
VLC_SECONDS = 8  # for SECONDS of pictures: on a busy machine it takes its time to begin
UDP_TRIES = 5
AUDIO_FRAMES = SECONDS * 48000 // 1024
TRANSPORTS = ("rtsp", "udp", "http")
URLS = [(stream, transport) for stream in ("file", "test") for transport in TRANSPORTS]


@pytest.fixture(scope="module")
def instance(clip: CheckClip) -> Iterator[Instance]:
    with Instance(f"file=mock:{clip.path}", "test=test:size=320x240,fps=25", config=PATIENT) as running:
        running.wait_live("file", "test")
        yield running


@pytest.fixture(params=URLS, ids=["-".join(pair) for pair in URLS])
def watched(request: pytest.FixtureRequest) -> tuple[str, str]:
    """(stream, transport)"""
    pair: tuple[str, str] = request.param
    return pair


@pytest.fixture
def url(instance: Instance, watched: tuple[str, str]) -> str:
    stream, transport = watched
    return instance.http(stream) if transport == "http" else instance.rtsp(stream)


@pytest.fixture
def lower(watched: tuple[str, str]) -> str:
    """What RTSP's media goes over."""
    return "udp" if watched[1] == "udp" else "tcp"


@pytest.fixture(scope="module")
def file_units(clip: CheckClip) -> list[Unit]:
    return units(clip.path)


@pytest.fixture
def ffmpeg_option(watched: tuple[str, str], lower: str) -> str:
    """How to say so to ffmpeg."""
    return "" if watched[1] == "http" else f"-rtsp_transport {lower}"


def test_ffprobe(
    instance: Instance, watched: tuple[str, str], url: str, ffmpeg_option: str, file_units: list[Unit]
) -> None:
    players.need("ffprobe")
    probe = players.run(
        f"ffprobe -v warning {ffmpeg_option} -show_streams -show_packets -of json "
        f"-read_intervals %+{SECONDS} {url}"
    )
    assert (probe.code, probe.err) == (0, "")
    found = json.loads(probe.out)
    assert [stream["codec_name"] for stream in found["streams"]] == ["h264", "aac"]
    assert (found["streams"][0]["width"], found["streams"][0]["height"]) == (320, 240)
    assert {stream["time_base"] for stream in found["streams"]} == {"1/90000"}
    for kind in ("video", "audio"):
        packets = [packet for packet in found["packets"] if packet["codec_type"] == kind]
        times = [(packet["pts"], packet["dts"]) for packet in packets]
        if kind == "video":
            assert "K" in packets[0]["flags"]
        if watched[0] == "file":
            check_distances(times, file_units, audio=kind == "audio")
        else:
            steps = {after[1] - before[1] for before, after in pairwise(times)}
            if kind == "video" and left_out(instance):  # a machine that is too slow for the test picture
                steps = {3600 for step in steps if step % 3600 == 0} | {step for step in steps if step % 3600}
            assert steps == {3600 if kind == "video" else 1920}


def left_out(instance: Instance) -> int:
    """How many test pictures were not made."""
    (counters,) = [each["counters"] for each in instance.stats()["processes"] if each["name"] == "capture-test"]
    return int(counters["dropped_raw"])


def test_ffmpeg_decodes(url: str, ffmpeg_option: str) -> None:
    players.need("ffmpeg")
    decoded = players.run(f"ffmpeg -v warning -xerror {ffmpeg_option} -i {url} -t {SECONDS} -f framecrc -")
    assert (decoded.code, decoded.err) == (0, "")
    counts = [len(re.findall(rf"^{track},", decoded.out, re.M)) for track in (0, 1)]
    assert counts[0] >= PICTURES - 10
    assert counts[1] >= AUDIO_FRAMES - 10


def test_ffmpeg_copies_the_file_s_packets(
    watched: tuple[str, str], url: str, ffmpeg_option: str, file_units: list[Unit], tmp_path: Path
) -> None:
    players.need("ffmpeg")
    copy = tmp_path / "copy.ts"
    copied = players.run(
        f"ffmpeg -v error -xerror {ffmpeg_option} -copyts -t {SECONDS} -i {url} -c copy -f mpegts "
        f"-pes_payload_size 0 {copy}"
    )
    assert (copied.code, copied.err) == (0, "")
    got = units(copy)
    if watched[0] == "file":
        check_times(got, file_units)
    else:
        assert len([unit for unit in got if not unit.audio]) >= PICTURES - 5


def test_pyav(watched: tuple[str, str], url: str, lower: str, file_units: list[Unit], clip: CheckClip) -> None:
    options = {} if watched[1] == "http" else {"rtsp_transport": lower}
    got: list[Unit] = []
    numbers: list[int] = []
    audio_frames = 0
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture(local=False) as complaints, av.open(url, "r", options=options, timeout=20) as live:
            for track in (*live.streams.video, *live.streams.audio):
                track.codec_context.options = {"err_detect": "explode"}
            for packet in live.demux(video=0, audio=0):
                audio = packet.stream.type == "audio"
                assert packet.pts is not None
                assert packet.dts is not None
                assert packet.time_base == TICKS_90K
                got.append(Unit(audio, packet.pts, packet.dts, packet.is_keyframe, bytes(packet)))
                for frame in packet.decode():
                    if isinstance(frame, av.VideoFrame) and watched[0] == "file":
                        reading = check_picture.read(check_picture.from_frame(frame))
                        assert not reading.damaged, f"picture {reading.number}"
                        numbers.append(reading.number)
                    audio_frames += isinstance(frame, av.AudioFrame)
                if len([unit for unit in got if not unit.audio]) > PICTURES:
                    break
    finally:
        av.logging.set_level(None)
    assert complaints == []
    assert audio_frames > AUDIO_FRAMES - 20
    if watched[0] == "file":
        assert len(numbers) > PICTURES - 10
        assert all(clip.follows(after, before) for before, after in pairwise(numbers)), numbers
        check_times(got, file_units)


SINKS = f"fakesink num-buffers={PICTURES}", f"fakesink num-buffers={AUDIO_FRAMES}"


def test_gstreamer_pipeline(url: str, lower: str) -> None:
    rtsp = f"rtspsrc location={url} protocols={lower} ! rtpmp2tdepay"
    source = rtsp if url.startswith("rtsp") else f"souphttpsrc location={url}"
    video, audio = SINKS
    players.gst(
        f"-q {source} ! tsdemux name=d "
        f"d. ! queue ! h264parse ! avdec_h264 ! {video} d. ! queue ! aacparse ! avdec_aac ! {audio}"
    )


def test_gstreamer_playbin(url: str) -> None:
    def enough(out: str) -> bool:
        return out.count("(video:sink)") >= PICTURES and out.count("(audio:sink)") >= AUDIO_FRAMES

    sinks = [f"{kind}-sink='fakesink name={kind} silent=false sync=true'" for kind in ("video", "audio")]
    players.gst(f"-v playbin uri={url} {' '.join(sinks)}", enough)


@pytest.mark.parametrize("track", ["video", "audio"])
def test_gstreamer_sees_the_file_s_times(instance: Instance, file_units: list[Unit], track: str) -> None:
    """Over HTTP: over RTSP GStreamer moves times. One track at a time: the lines of two would be mixed up."""
    parser, count = ("h264parse", PICTURES) if track == "video" else ("aacparse", AUDIO_FRAMES)
    url = instance.http("file")
    sink = f"fakesink num-buffers={count} silent=false"
    played = players.gst(f"-v souphttpsrc location={url} ! tsdemux ! {parser} ! {sink}")
    lines = re.findall(r"last-message = chain .*?dts: (\S+), pts: (\S+),", played.out)
    times = [(_ticks(pts), _ticks(pts if dts == "none" else dts)) for dts, pts in lines]
    check_distances(times, file_units, audio=track == "audio")


def _ticks(clock: str) -> float:
    hours, minutes, seconds = clock.split(":")
    return (int(hours) * 3600 + int(minutes) * 60 + float(seconds)) * 90000


def test_mpv(url: str, lower: str) -> None:
    players.need("mpv")
    played = players.run(
        "mpv --no-config --vo=null --ao=null --msg-level=all=warn --term-status-msg= "
        f"--rtsp-transport={lower} --frames={PICTURES} {url}"
    )
    assert (played.code, played.err.strip()) == (0, "")
    assert not re.search(r"warn|error|fail|invalid|corrupt", played.out, re.I), played.out


@pytest.mark.parametrize("transport", ["rtsp", "http"])
@pytest.mark.parametrize("stream", ["file", "test"])
def test_vlc(instance: Instance, stream: str, transport: str, clip: CheckClip, tmp_path: Path) -> None:
    """Over RTSP, VLC without live555 asks for UDP: by SETUP, without DESCRIBE, as it does of a SAT>IP server."""
    players.need("cvlc")
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents[:3]:  # pytest keeps them private
        parent.chmod(parent.stat().st_mode | 0o011)
    url = instance.http(stream) if transport == "http" else instance.rtsp(stream)
    for _ in range(UDP_TRIES):  # its socket holds some 90 packets: a machine that lets it wait throws some away
        thrown_away = players.datagrams_thrown_away()
        complaints = vlc(url, tmp_path)
        numbers = [number_in_png(path) for path in sorted(tmp_path.glob("scene*.png"))]
        if stream == "file" and -1 in numbers:
            complaints.append(f"pictures that are not whole: {numbers}")
        if transport == "http" or not complaints or players.datagrams_thrown_away() == thrown_away:
            break
        for path in tmp_path.glob("scene*.png"):
            path.unlink()
    assert complaints == []
    assert len(numbers) > (PICTURES // VLC_KEEPS_EVERY // 2 if transport == "http" else 1)
    if stream == "file" and transport == "http":  # at the start it shows one again, and late ones never
        steps = [(after - before) % clip.pictures for before, after in pairwise(numbers)]
        assert max(steps) < 3 * VLC_KEEPS_EVERY, numbers
        assert sum(steps) > PICTURES // 2


def vlc(url: str, directory: Path) -> list[str]:
    """VLC plays, and keeps some pictures in the directory; what it complains of."""
    played = players.run(
        f"cvlc -vv --intf dummy --vout dummy --aout dummy --run-time {VLC_SECONDS} --video-filter scene "
        "--no-avcodec-hurry-up "  # else it shows half of what comes late, as all does at first over UDP
        f"--scene-format png --scene-path {directory} --scene-prefix scene --scene-ratio {VLC_KEEPS_EVERY} "
        f"{url} vlc://quit",
        environment={"HOME": str(directory)},
        as_nobody=True,
        hurried=True,
    )
    assert played.code == 0
    complaints = re.findall(
        r"^\S+ (?:ts demux|http\S*|satip stream|avcodec decoder|packetizer_\w+ \w+) (?:error|warning): .*",
        played.err,
        re.M,
    )
    # The first viewer after the source's start is told that its clock begins: VLC mentions that, and plays.
    begins = [complaint for complaint in complaints if "discontinuity indicator" in complaint]
    assert len(begins) <= 1, begins
    # Of what comes at once over UDP, for a picture soon, it finds some late and does not show them.
    late = [complaint for complaint in complaints if url.startswith("rtsp") and "late frames" in complaint]
    return [complaint for complaint in complaints if complaint not in (*begins, *late)]


def number_in_png(path: Path) -> int:
    """VLC scales the pictures that it keeps: their number stands that, their details do not."""
    with av.open(str(path), "r") as png:
        frame = next(png.decode(video=0)).reformat(width=320, height=240, format="yuv420p")
        return check_picture.read(check_picture.from_frame(frame)).number
