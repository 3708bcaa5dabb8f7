"""Every client against every payload, transport and content: the table of the README, made again by

    python -m tests.interop.matrix [--clients ffmpeg,VLC] [--contents h264] [--seconds 4]

A cell is "yes" where the client played for so long, decoded without one complaint, and got what was sent in that
time; else a letter, whose reason stands below the table. Clients that are not installed are left out: on Debian
`apt install ffmpeg mpv mplayer vlc-bin vlc-plugin-base gstreamer1.0-libav` and GStreamer's plugins (see .ci/run);
`pip install 'framegate[matrix]'` for OpenCV and aiortsp.
"""

import argparse
import importlib.util
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from tests.support import media_files, players
from tests.support.instance import Instance

FPS = 25
RATE_HZ = 48_000
AUDIO_FRAME_SAMPLES = 1024
ENOUGH = 0.6  # of what the time would bring: a client takes a while to start
WITHIN_S = 40.0
PAYLOADS = ("ts", "native")
TRANSPORTS = ("tcp", "udp")


@dataclass(frozen=True)
class Content:
    """What a stream carries."""

    name: str
    title: str
    video: str | None
    audio: str | None

    def make(self) -> Path:
        """A file with it, some seconds long."""
        suffix = "mp4" if self.video != "mjpeg" else "mkv"
        return media_files.media_file(
            f"{self.name}.{suffix}", self.video, self.audio, pictures=200, fps=FPS, size=(320, 240)
        )


CONTENTS = (
    Content("h264", "H.264 + AAC", "libx264", "aac"),
    Content("h265", "H.265", "libx265", None),
    Content("mjpeg", "MJPEG", "mjpeg", None),
    Content("audio", "AAC alone", None, "aac"),
)


@dataclass(frozen=True)
class Case:
    """One cell. rtsp: the stream's URL."""

    rtsp: str
    transport: str
    payload: str
    content: Content
    seconds: int
    home: Path

    @property
    def pictures(self) -> int:
        """That must have come at least."""
        return int(self.seconds * FPS * ENOUGH) if self.content.video else 0

    @property
    def audio_frames(self) -> int:
        """That must have come at least."""
        return int(self.seconds * RATE_HZ / AUDIO_FRAME_SAMPLES * ENOUGH) if self.content.audio else 0

    def counted(self, pictures: int, audio_frames: int | None) -> str:
        """ "" where enough came; audio_frames None: the client does not tell."""
        if pictures < self.pictures:
            return f"{pictures} pictures in {self.seconds} s"
        if audio_frames is not None and audio_frames < self.audio_frames:
            return f"{audio_frames} audio frames in {self.seconds} s"
        return ""


def ffmpeg(case: Case) -> str:
    """The program, which stops at the first error."""
    played = players.run(
        f"ffmpeg -v warning -xerror -rtsp_transport {case.transport} -i {case.rtsp} -t {case.seconds} "
        "-map 0 -f framecrc -",
        within_s=WITHIN_S,
    )
    if played.code or played.err.strip():
        return _first_line(played.err) or f"exit code {played.code}"
    kinds = dict(re.findall(r"^#media_type (\d): (\w+)", played.out, re.M))
    counts = {kind: len(re.findall(rf"^{track},", played.out, re.M)) for track, kind in kinds.items()}
    return case.counted(counts.get("video", 0), counts.get("audio", 0))


def gstreamer(case: Case) -> str:
    """playbin."""
    url = case.rtsp.replace("rtsp://", "rtspt://" if case.transport == "tcp" else "rtspu://")

    def enough(out: str) -> bool:
        return out.count("(video:sink)") >= case.pictures and out.count("(audio:sink)") >= case.audio_frames

    sinks = [f"{kind}-sink='fakesink name={kind} silent=false sync=true'" for kind in ("video", "audio")]
    players.gst(f"-v playbin uri={url} {' '.join(sinks)}", enough)
    return ""


def vlc(case: Case) -> str:
    """cvlc, as a user that is not root."""
    every = 5
    has_live555 = "live555" in players.run("cvlc --list", as_nobody=True).out
    if not has_live555 and (case.transport == "tcp" or case.payload != "ts"):
        return "this build has no live555, only SAT>IP: MPEG-TS over UDP"
    case.home.chmod(0o777)
    tcp = "--rtsp-tcp" if case.transport == "tcp" else ""
    played = players.run(
        f"cvlc -vv --intf dummy --vout dummy --aout dummy {tcp} --run-time {case.seconds} --video-filter scene "
        f"--scene-format png --scene-path {case.home} --scene-prefix scene --scene-ratio {every} {case.rtsp} "
        "vlc://quit",
        environment={"HOME": str(case.home)},
        as_nobody=True,
        within_s=WITHIN_S,
    )
    bad = r"^\S+ (?:ts demux|avcodec decoder|packetizer_\w+ \w+|satip\S*) error: .*"
    complaints = re.findall(bad, played.err, re.M)
    if complaints:
        return str(complaints[0])
    frames = len(list(case.home.glob("scene*.png"))) * every
    if not case.content.video:
        return (
            "" if re.search(r"avcodec decoder.*(?:mp4a|aac)|faad|using audio decoder", played.err) else "no sound"
        )
    return case.counted(frames, None)


def mpv(case: Case) -> str:
    """Without windows and sound."""
    played = players.run(
        "mpv --no-config --vo=null --ao=null --msg-level=all=warn --term-status-msg= "
        f"--rtsp-transport={case.transport} --length={case.seconds} {case.rtsp}",
        within_s=WITHIN_S,
    )
    said = f"{played.out}\n{played.err}"
    complaint = re.search(r".*(?:warn|error|fail|invalid|corrupt|missing).*", said, re.I)
    if complaint is not None:
        return complaint[0]
    return "" if played.code == 0 else f"exit code {played.code}"


def mplayer(case: Case) -> str:
    """By libavformat: this client's own RTSP needs live555, which Debian's build has not."""
    tcp = "?tcp" if case.transport == "tcp" else ""
    played = players.run(
        f"timeout --preserve-status -s INT {2 * case.seconds} mplayer -nolirc -ao null "
        f"-vo md5sum:outfile={case.home}/sums -frames {case.seconds * FPS} ffmpeg://{case.rtsp}{tcp}",
        within_s=WITHIN_S,
        environment={"HOME": str(case.home)},
    )
    said = f"{played.out}\n{played.err}"
    for kind, wanted in (("VIDEO:", case.content.video), ("AUDIO:", case.content.audio)):
        if wanted and kind not in said:
            return _first_line(played.err) or f"no {kind.lower()}"
    complaint = re.search(r".*(?:error while decoding|concealing|corrupt|missed \d+ packets).*", said)
    if complaint is not None:
        return complaint[0]
    sums = case.home / "sums"
    played_s = [float(at) for at in re.findall(r"A:\s*(\d+\.\d)", said)]
    if not case.content.video and (not played_s or played_s[-1] - played_s[0] < case.seconds * ENOUGH):
        return "no sound for so long"
    return case.counted(len(sums.read_text().splitlines()) if sums.exists() else 0, None)


OPENCV = """
import sys, cv2
live = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
wanted, got = int(sys.argv[2]), 0
while got < wanted and live.read()[0]:
    got += 1
print("pictures", got)
"""


def opencv(case: Case) -> str:
    """cv2.VideoCapture: pictures only."""
    if not case.content.video:
        return "OpenCV reads pictures only"
    played = players.run(
        f"{sys.executable} -c '{OPENCV}' {case.rtsp} {case.seconds * FPS}",
        environment={"OPENCV_FFMPEG_CAPTURE_OPTIONS": f"rtsp_transport;{case.transport}"},
        within_s=WITHIN_S,
    )
    if complaint := _first_line(played.err):
        return complaint
    got = re.search(r"pictures (\d+)", played.out)
    return case.counted(int(got[1]) if got else 0, None)


AIORTSP = """
import asyncio, sys
from aiortsp.rtsp.reader import RTSPReader
async def main():
    lost = got = 0
    last = None
    media = sys.argv[4]
    async with RTSPReader(sys.argv[1], media_type=media, timeout=10) as reader:
        async for packet in reader.iter_packets():
            if last is not None and packet.seq != (last + 1) % 65536:
                lost += 1
            last, got = packet.seq, got + 1
            if got >= int(sys.argv[2]):
                break
    print("packets", got, "gaps", lost)
asyncio.run(main())
"""


def aiortsp(case: Case) -> str:
    """Packets, their numbers without a gap: this library decodes nothing."""
    scheme = "rtspt" if case.transport == "tcp" else "rtsp"
    url = case.rtsp.replace("rtsp://", f"{scheme}://")
    media = "video" if case.content.video or case.payload == "ts" else "audio"
    played = players.run(
        f"{sys.executable} -c '{AIORTSP}' {url} {max(case.pictures, case.audio_frames)} - {media}",
        within_s=WITHIN_S,
    )
    if re.search(r"packets \d+ gaps 0", played.out):
        return ""
    return played.out.strip() or _last_line(played.err)


PYAV = """
import sys, time, av, av.logging
av.logging.set_level(av.logging.WARNING)
pictures = sounds = 0
with av.logging.Capture(local=False) as complaints:
    with av.open(sys.argv[1], options={"rtsp_transport": sys.argv[2]}, timeout=20) as live:
        until = time.monotonic() + int(sys.argv[3])
        for packet in live.demux():
            for frame in packet.decode():
                pictures += isinstance(frame, av.VideoFrame)
                sounds += isinstance(frame, av.AudioFrame)
            if time.monotonic() > until:
                break
for _, name, text in complaints:
    print(name, text.strip(), file=sys.stderr)
print("got", pictures, sounds)
"""


def pyav(case: Case) -> str:
    """The libraries of ffmpeg, from Python."""
    played = players.run(
        f"{sys.executable} -c '{PYAV}' {case.rtsp} {case.transport} {case.seconds}", within_s=WITHIN_S
    )
    if complaint := _last_line(played.err):
        return complaint
    got = re.search(r"got (\d+) (\d+)", played.out)
    return case.counted(int(got[1]), int(got[2])) if got else f"exit code {played.code}"


@dataclass(frozen=True)
class Client:
    """needs: its program, or (with a dot before it) its Python package."""

    name: str
    needs: str
    play: Callable[[Case], str]

    @property
    def is_here(self) -> bool:
        """Whether it is installed."""
        if self.needs.startswith("."):
            return importlib.util.find_spec(self.needs[1:]) is not None
        return shutil.which(self.needs) is not None


CLIENTS = (
    Client("ffmpeg", "ffmpeg", ffmpeg),
    Client("GStreamer", "gst-launch-1.0", gstreamer),
    Client("VLC", "cvlc", vlc),
    Client("mpv", "mpv", mpv),
    Client("MPlayer", "mplayer", mplayer),
    Client("OpenCV", ".cv2", opencv),
    Client("aiortsp", ".aiortsp", aiortsp),
    Client("PyAV", ".av", pyav),
)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _cell(client: Client, case: Case) -> str:
    try:
        return client.play(case)
    except AssertionError as error:
        return _first_line(str(error))


def _table(results: dict[tuple[str, str, str, str], str], contents: list[Content]) -> str:
    """Markdown: a row a client and content, a column a payload and transport; reasons by letter below."""
    columns = list(product(PAYLOADS, TRANSPORTS))
    lines = ["| client | content | " + " | ".join(f"{payload}, {t.upper()}" for payload, t in columns) + " |"]
    lines.append("|---" * (2 + len(columns)) + "|")
    reasons: dict[str, str] = {}
    for client in dict.fromkeys(key[0] for key in results):
        for content in contents:
            cells = []
            for payload, transport in columns:
                reason = results.get((client, content.name, payload, transport))
                if reason:
                    letter = reasons.setdefault(f"{client}: {_shape(reason)}", chr(ord("a") + len(reasons)))
                    cells.append(letter)
                else:
                    cells.append("yes" if reason == "" else "")
            lines.append(f"| {client} | {content.title} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *(f"{letter}: {reason}  " for reason, letter in reasons.items())])


def _shape(reason: str) -> str:
    """A reason without what differs from run to run."""
    return re.sub(r"0x[0-9a-f]+|\[[0-9a-f]{16}\] ?|rtsp\w?://\S+", "", reason)[:160].strip()


def _settings(content: Content) -> str:
    """A stream for each payload: Motion JPEG is passed through natively, and encoded for MPEG-TS."""
    source, jpeg = f"mock:{content.make()}", {"ts": "encode", "native": "pass"}
    return "".join(
        f'[streams.{content.name}-{payload}]\nsource = "{source}"\n'
        f'payload = "{payload}"\nmjpeg = "{jpeg[payload]}"\n'
        for payload in PAYLOADS
    )


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.interop.matrix", description=__doc__)
    parser.add_argument("--clients", default=",".join(client.name for client in CLIENTS))
    parser.add_argument("--contents", default=",".join(content.name for content in CONTENTS))
    parser.add_argument("--payloads", default=",".join(PAYLOADS))
    parser.add_argument("--transports", default=",".join(TRANSPORTS))
    parser.add_argument("--seconds", type=int, default=4)
    asked = parser.parse_args()
    clients = [client for client in CLIENTS if client.name in asked.clients.split(",") and client.is_here]
    contents = [content for content in CONTENTS if content.name in asked.contents.split(",")]
    results: dict[tuple[str, str, str, str], str] = {}
    settings = "".join(_settings(content) for content in contents)
    with Instance(config=settings) as instance:
        for client, content, payload, transport in product(
            clients, contents, asked.payloads.split(","), asked.transports.split(",")
        ):
            with tempfile.TemporaryDirectory(prefix="fg-matrix-") as home:
                url = instance.rtsp(f"{content.name}-{payload}")
                reason = _cell(client, Case(url, transport, payload, content, asked.seconds, Path(home)))
            results[client.name, content.name, payload, transport] = reason
            sys.stderr.write(f"{client.name} {content.name} {payload} {transport}: {reason or 'yes'}\n")
    sys.stdout.write(f"{_table(results, contents)}\n")


if __name__ == "__main__":
    main()
