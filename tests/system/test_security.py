"""A whole instance with users: what it keeps to itself."""

import os
import stat
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator

import psutil
import pytest

from common.passwords import digest_secret, hash_password
from tests.support.digest_client import basic_answer
from tests.support.instance import Instance, command
from tests.support.wait import until

PASSWORD = "correct horse"
SECRETS = {
    "password": PASSWORD,
    "digest_md5": digest_secret("MD5", "boss", "framegate", PASSWORD),
    "digest_sha256": digest_secret("SHA-256", "boss", "framegate", PASSWORD),
    "password_hash": hash_password(PASSWORD, bytes(16)),
    "secret": "what the nonces are signed with",
}
CONFIG = f"""
[log]
level = "debug"
[auth]
basic = "always"
secret = "{SECRETS["secret"]}"
[users.boss]
stats = true
password = "{SECRETS["password"]}"
digest_md5 = "{SECRETS["digest_md5"]}"
digest_sha256 = "{SECRETS["digest_sha256"]}"
password_hash = "{SECRETS["password_hash"]}"
"""


@pytest.fixture(scope="module")
def instance() -> Iterator[Instance]:
    with Instance("cam=test:size=320x240,fps=10", config=CONFIG) as running:
        yield running


def get(instance: Instance, path: str, authorization: str = "") -> bytes:
    url = instance.http("cam").replace("/cam.ts", path)
    request = urllib.request.Request(url, headers={"Authorization": authorization} if authorization else {})
    with urllib.request.urlopen(request, timeout=10) as response:
        body: bytes = response.read(100_000)
        return body


def test_nothing_of_a_password_gets_out(instance: Instance) -> None:
    right, wrong = basic_answer("boss", PASSWORD), basic_answer("boss", "battery staple")
    for path in ("/cam.ts", "/api/stats"):
        for authorization in ("", wrong):
            with pytest.raises(urllib.error.HTTPError) as refusal:
                get(instance, path, authorization)
            assert refusal.value.code == 401
            refusal.value.close()
    assert get(instance, "/cam.ts", right)
    until(lambda: b'"logins_failed":2' in get(instance, "/api/stats", right), 5, "the failures in the figures")
    stats = get(instance, "/api/stats", right).decode()
    shown = [
        subprocess.run(
            [command(), "stats", *words, "--runtime-dir", str(instance.runtime_dir)],
            capture_output=True, text=True, timeout=30, check=True, env=instance.environment(),
        ).stdout
        for words in ([], ["--json"])
    ]  # fmt: skip
    arguments = [" ".join(process.cmdline()) for process in psutil.Process(instance.process.pid).children()]
    assert "event=login_failed" in instance.log
    everything = "\n".join([instance.log, instance.out, stats, *shown, *arguments])
    for secret in (*SECRETS.values(), right[6:], wrong[6:], "battery staple"):
        assert secret not in everything


def test_the_runtime_directory_is_for_nobody_else(instance: Instance) -> None:
    assert stat.S_IMODE(instance.runtime_dir.stat().st_mode) == 0o700
    files = {path.name: path.lstat() for path in instance.runtime_dir.iterdir()}
    assert {"control", "capture-cam", "muxer-0", "framegate.toml", "lock"} <= files.keys()
    assert {name for name, status in files.items() if status.st_mode & 0o077} == set()
    assert {status.st_uid for status in files.values()} == {os.geteuid()}
