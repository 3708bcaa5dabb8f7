"""The other servers: where each is got from, and how its documentation says it is started.

    go2rtc            built by Go from its module; an ffmpeg that copies pushes the clip to it by RTSP
    gst-rtsp-server   Debian: gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-base, -good, -bad;
                      one shared media (gst_server.py)
    MediaMTX          a `mediamtx` on PATH, or built by Go from its module, whose published form lacks the files
                      that its own build generates; fed like go2rtc
    gortsplib         MediaMTX's RTSP engine under the smallest of servers (gortsplib_relay.go), for where
                      MediaMTX itself cannot be had

Go is asked for exact versions, those that were tested, by the `require` line of a module made in the cache.
What cannot be had raises UnavailableError with the reason. The CPU time of a feeding ffmpeg is not counted.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.bench.servers import (
    HERE,
    PATH,
    Job,
    Server,
    Serving,
    UnavailableError,
    free_port,
    spawn,
    wait_described,
    wait_for,
    wait_listening,
)

GO2RTC = ("github.com/AlexxIT/go2rtc", "v1.9.9")
MEDIAMTX = ("github.com/bluenviron/mediamtx", "v1.11.3")
GORTSPLIB = ("github.com/bluenviron/gortsplib/v4", "v4.12.3")
BUILD_S = 900
SYSTEM_PYTHON = "/usr/bin/python3"  # the one that Debian's python3-gi is for


def _built(cache: Path, name: str, module: tuple[str, str], source: Path | None = None) -> Path:
    """The program `name`: the module's own main package, or `source` that imports the module."""
    path, release = module
    program = cache / f"{name}-{release}"
    if program.exists() and (source is None or program.stat().st_mtime > source.stat().st_mtime):
        return program
    if (go := shutil.which("go")) is None:
        raise UnavailableError("no Go")
    folder = cache / f"{name}-{release}-build"
    folder.mkdir(exist_ok=True)
    (folder / "go.mod").write_text(f"module bench\n\ngo 1.21\n\nrequire {path} {release}\n")
    if source is not None:
        shutil.copy(source, folder / "main.go")
    result = subprocess.run(
        [go, "build", "-mod=mod", "-o", program, path if source is None else "."],
        cwd=folder, env=os.environ | {"CGO_ENABLED": "0"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_S, check=False,
    )  # fmt: skip
    if result.returncode:
        said = result.stderr.strip().splitlines()
        raise UnavailableError(f"Go does not build {path} {release}: {said[-1].strip()[:160] if said else ''}")
    return program


def _feed(stack: ExitStack, job: Job, port: int) -> None:
    """Push the clip by RTSP, in a loop, at its own pace."""
    spawn(
        stack,
        ["ffmpeg", "-hide_banner", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", job.clip.mp4,
         "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp", f"rtsp://{job.host}:{port}{PATH}"],
        job.work / "ffmpeg.log",
        job.load_cpus,
    )  # fmt: skip


def _need_ffmpeg() -> None:
    if shutil.which("ffmpeg") is None:
        raise UnavailableError("no ffmpeg to feed it")


def go2rtc(cache: Path) -> Server:
    """go2rtc, RTSP over TCP and MPEG-TS over HTTP (it has no RTP over UDP)."""
    _need_ffmpeg()
    program = _built(cache, "go2rtc", GO2RTC)

    def start(stack: ExitStack, job: Job) -> Serving:
        rtsp_port, http_port = free_port(), free_port()
        config = job.work / "go2rtc.json"
        listen = {"rtsp": f"{job.host}:{rtsp_port}", "api": f"{job.host}:{http_port}", "webrtc": "", "srtp": ""}
        sections: dict[str, object] = {name: {"listen": address} for name, address in listen.items()}
        config.write_text(json.dumps(sections | {"streams": {PATH[1:]: None}}))
        log = job.work / "go2rtc.log"
        process = spawn(stack, [program, "-config", config], log, job.server_cpus)
        wait_for(process, log, r"\[rtsp\] listen")
        _feed(stack, job, rtsp_port)
        wait_described(process, log, job.host, rtsp_port)
        return Serving(process, rtsp_port, http_port, http_path=f"/api/stream.ts?src={PATH[1:]}")

    return Server("go2rtc", GO2RTC[1], ("rtsp-tcp", "http"), start)


def gortsplib(cache: Path) -> Server:
    """The engine of MediaMTX."""
    _need_ffmpeg()
    program = _built(cache, "gortsplib", GORTSPLIB, HERE / "gortsplib_relay.go")

    def start(stack: ExitStack, job: Job) -> Serving:
        port, rtp_port = free_port(), free_port()
        log = job.work / "gortsplib.log"
        process = spawn(stack, [program, job.host, str(port), str(rtp_port)], log, job.server_cpus)
        return _fed(stack, job, process, log, port)

    return Server("gortsplib", GORTSPLIB[1], ("rtsp-tcp", "rtsp-udp"), start)


def mediamtx(cache: Path) -> Server:
    """MediaMTX, all but RTSP switched off."""
    _need_ffmpeg()
    on_path = shutil.which("mediamtx")
    program = Path(on_path) if on_path else _built(cache, "mediamtx", MEDIAMTX)
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout.strip()

    def start(stack: ExitStack, job: Job) -> Serving:
        port, rtp_port = free_port(), free_port()
        config = job.work / "mediamtx.yml"  # JSON is YAML
        off = dict.fromkeys(("rtmp", "hls", "webrtc", "srt"), False)
        ports = {"rtspAddress": port, "rtpAddress": rtp_port, "rtcpAddress": rtp_port + 1}
        addresses = {name: f"{job.host}:{number}" for name, number in ports.items()}
        config.write_text(json.dumps({**off, **addresses, "paths": {"all_others": {}}}))
        log = job.work / "mediamtx.log"
        process = spawn(stack, [program, config], log, job.server_cpus)
        return _fed(stack, job, process, log, port)

    return Server("MediaMTX", said or MEDIAMTX[1], ("rtsp-tcp", "rtsp-udp"), start)


def _fed(stack: ExitStack, job: Job, process: "subprocess.Popen[bytes]", log: Path, port: int) -> Serving:
    wait_listening(process, log, job.host, port)
    _feed(stack, job, port)
    wait_described(process, log, job.host, port)
    return Serving(process, port)


def gst_rtsp_server(_cache: Path) -> Server:
    """gst-rtsp-server, which reads the clip's pictures itself."""
    ask = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); gi.require_version('Gst', '1.0');"
        "from gi.repository import Gst; Gst.init(None); print(Gst.version_string());"
        "assert Gst.ElementFactory.find('rtph264pay') and Gst.ElementFactory.find('h264parse')"
    )
    try:
        said = subprocess.run([SYSTEM_PYTHON, "-c", ask], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise UnavailableError(
            "Debian packages missing: gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-{base,good,bad}"
        ) from None

    def start(stack: ExitStack, job: Job) -> Serving:
        port = free_port()
        log = job.work / "gst.log"
        command = [SYSTEM_PYTHON, str(HERE / "gst_server.py"), job.host, str(port), str(job.clip.pictures)]
        process = spawn(stack, command, log, job.server_cpus)
        wait_for(process, log, r"^ready")
        wait_described(process, log, job.host, port)
        return Serving(process, port)

    return Server("gst-rtsp-server", said.split()[-1], ("rtsp-tcp", "rtsp-udp"), start)


PEERS: dict[str, Callable[[Path], Server]] = {
    "go2rtc": go2rtc,
    "gst": gst_rtsp_server,
    "mediamtx": mediamtx,
    "gortsplib": gortsplib,
}
