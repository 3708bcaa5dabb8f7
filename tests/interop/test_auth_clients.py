"""Real clients log in: right, wrong and no password, another stream's right, and over TLS."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from tests.support import players
from tests.support.certificates import free_port, issue
from tests.support.instance import Instance
from tests.support.wait import until

pytestmark = pytest.mark.interop

CONFIG = """
[rtsp]
tls_port = {rtsps}
[http]
tls_port = {https}
[tls]
certificate = "{certificate}"
[auth]
digest = "both"
[users.alice]
password = "s3cret"
streams = ["cam"]
stats = true
"""
RIGHT, WRONG, NONE = "alice:s3cret@", "alice:wrong@", ""
FRAMES = 20


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Instance, int, int]]:
    """With its ports of RTSPS and HTTPS."""
    certificate = tmp_path_factory.mktemp("tls") / "cert.pem"
    issue(certificate)
    rtsps, https = free_port(), free_port()
    config = CONFIG.format(rtsps=rtsps, https=https, certificate=certificate)
    with Instance("cam=test:size=320x240,fps=25", "other=test:size=320x240,fps=25", config=config) as running:
        until(lambda: running.log.count("event=source_up") == 2, 30, "both sources")
        yield running, rtsps, https


def url(instance: tuple[Instance, int, int], scheme: str, who: str, stream: str = "cam") -> str:
    """A stream's URL with user and password in it."""
    running, rtsps, https = instance
    plain = running.rtsp(stream) if scheme.startswith("rtsp") else running.http(stream)
    _, _, rest = plain.partition("://")
    path = rest.partition("/")[2]
    ports = {"rtsps": rtsps, "https": https}
    place = f"127.0.0.1:{ports[scheme]}" if scheme in ports else rest.partition("/")[0]
    return f"{scheme}://{who}{place}/{path}"


CASES = [(scheme, RIGHT, "cam", True) for scheme in ("rtsp", "http", "rtsps", "https")]
CASES += [("rtsp", WRONG, "cam", False), ("http", NONE, "cam", False), ("rtsp", RIGHT, "other", False)]
IDS = ["rtsp", "http", "rtsps", "https", "wrong", "none", "another"]


@pytest.mark.parametrize(("scheme", "who", "stream", "good"), CASES, ids=IDS)
class TestPlayers:
    def test_ffmpeg(
        self, instance: tuple[Instance, int, int], scheme: str, who: str, stream: str, good: bool
    ) -> None:
        players.need("ffmpeg")
        over = "-rtsp_transport tcp" if scheme == "rtsp" else ""
        played = players.run(
            f"ffmpeg -v warning {over} -i {url(instance, scheme, who, stream)} -frames:v {FRAMES} -f null -"
        )
        assert (played.code == 0) is good, played.err
        if good:
            assert played.err == ""
        else:
            assert ("404 Not Found" if stream == "other" else "401 Unauthorized") in played.err

    def test_gstreamer(
        self, instance: tuple[Instance, int, int], scheme: str, who: str, stream: str, good: bool
    ) -> None:
        players.need("gst-launch-1.0")
        if scheme.startswith("rtsp"):
            place = url(instance, scheme, who, stream)
            source = f"rtspsrc location={place} protocols=tcp tls-validation-flags=0 ! rtpmp2tdepay"
        else:
            user = "user-id=alice user-pw=s3cret" if who == RIGHT else ""
            place = url(instance, scheme, NONE, stream)
            source = f"souphttpsrc location={place} {user} ssl-strict=false"
        played = players.run(f"gst-launch-1.0 -q {source} ! fakesink num-buffers={FRAMES}")
        assert players.gst_ended(played) is good, played.err
        if not good:
            assert ("Not found" if stream == "other" else "Unauthorized") in played.err


@pytest.mark.parametrize("scheme", ["rtsp", "http", "rtsps", "https"])
def test_mpv(instance: tuple[Instance, int, int], scheme: str) -> None:
    players.need("mpv")
    played = players.run(
        "mpv --no-config --vo=null --ao=null --msg-level=all=warn --term-status-msg= --rtsp-transport=tcp "
        f"--frames={FRAMES} {url(instance, scheme, RIGHT)}"
    )
    assert (played.code, played.err.strip()) == (0, "")


def curl(*words: str) -> tuple[int, int, str]:
    """Exit code, the last status, and the body."""
    done = subprocess.run(
        ["curl", "-s", "-w", "\n%{http_code}", "--max-time", "20", *words], capture_output=True, check=False
    )
    body, _, status = done.stdout.decode("latin-1").rpartition("\n")
    return done.returncode, int(status), body


@pytest.mark.parametrize(("scheme", "how", "statuses"), [
    ("http", "--digest", (200, 401)), ("http", "--anyauth", (200, 401)),
    ("http", "--basic", (401, 401)),  # where it would show the password, it is not offered
    ("https", "--digest", (200, 401)), ("https", "--basic", (200, 401)),
])  # fmt: skip
def test_curl(instance: tuple[Instance, int, int], scheme: str, how: str, statuses: tuple[int, int]) -> None:
    players.need("curl")
    place = url(instance, scheme, NONE).replace("/cam.ts", "/api/stats")
    for password, status in zip(("s3cret", "wrong"), statuses, strict=True):
        code, got, body = curl("-k", how, "-u", f"alice:{password}", place)
        assert (code, got) == (0, status)
        if status == 200:
            assert {process["name"] for process in json.loads(body)["processes"]} >= {"server-0"}
    assert curl("-k", place)[:2] == (0, 401)
    assert curl("-k", "--anyauth", "-u", "alice:s3cret", place.replace("/api/stats", "/other.ts"))[1] == 404
