"""A Linux kernel with camera drivers in a box: QEMU, its root the root of this machine, run for one pytest.

The machine that runs the tests has no /dev/video, and perhaps not the right to load a driver. So its tests run in
a virtual one: Debian's kernel (`.ci/kernel` unpacks it), an initramfs of busybox and the drivers, the files of
this machine over 9p, read-only under a layer in memory that is thrown away. The processor is emulated (TCG): that
works everywhere, and is some ten times slower than the real one.

The clock inside counts the work done inside, an instruction a nanosecond (`-icount`): where this machine is slow,
or busy, time passes more slowly there, and nothing is late. Only while nothing is to be done does it go as here.

Inside, `python -m tests.support.inside_box` runs the tests, and writes a line of JSON for each report to a
virtio port; outside they come in as `lines`.
"""

import json
import lzma
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
KERNEL = ROOT / ".kernel"
QEMU, BUSYBOX = "qemu-system-x86_64", "busybox"
MARK = "FRAMEGATE_INSIDE_BOX"  # in the environment of the tests inside
PORT = "/dev/vport*p1"  # where they report; its number is that of the virtio bus
JOB = "/run/box/job.json"  # their arguments
MEMORY_MB = 1500

# What the root file system needs, then the cameras: of vivid one that has only pictures; and a sound card whose
# playback is what its other device records.
_MODULES = {
    "virtio_pci": "", "virtio_console": "", "9pnet_virtio": "", "9p": "", "overlay": "",
    "vivid": "n_devs=1 node_types=0x1 num_inputs=1", "uvcvideo": "", "vhci-hcd": "", "snd-aloop": "",
}  # fmt: skip

_INIT = """#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
while read -r line; do $b insmod $line || echo "no driver: $line"; done </modules
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose root /lower
$b mount -t tmpfs layer /layer
$b mkdir /layer/upper /layer/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work overlay /root
for at in proc sys dev run; do [ -d /root/$at ] || $b mkdir /root/$at; done
$b mount -t proc proc /root/proc
$b mount -t sysfs sys /root/sys
$b mount -t devtmpfs dev /root/dev
$b mount -t tmpfs run /root/run
$b mkdir -p /root/dev/pts /root/dev/shm /root/run/box/tmp
$b mount -t devpts devpts /root/dev/pts
$b ln -s /proc/self/fd /root/dev/fd
$b mount -t tmpfs shm /root/dev/shm
$b ip link set lo up
$b cp /job.json /root@JOB@
$b chroot /root /bin/sh -c 'cd "$1" && exec "$2" -m tests.support.inside_box' job '@ROOT@' '@PYTHON@'
echo "the tests ended: $?"
$b poweroff -f
"""


def missing() -> str:
    """What this machine lacks to run a box; empty if nothing."""
    for program in (QEMU, BUSYBOX):
        if shutil.which(program) is None:
            return f"no {program} (Debian: qemu-system-x86, busybox-static)"
    if not (KERNEL / "done").exists():
        return "no kernel for the cameras: .ci/kernel fetches one"
    return ""


class KernelBox:
    """A running box. pytest inside gets `arguments`; lines: what it reports, None at its end."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._home = Path(tempfile.mkdtemp(prefix="fg-box-"))
        try:
            (self._home / "vmlinux").write_bytes(_decompressed(next(KERNEL.glob("boot/vmlinuz-*"))))
            (self._home / "initramfs").write_bytes(_initramfs(arguments))
            self._process = subprocess.Popen(
                self._command(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
            )
        except BaseException:
            shutil.rmtree(self._home)
            raise
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def line(self, until_s: float) -> str | None:
        """The next one. Raises TimeoutError where none came by `until_s` of the monotonic clock."""
        try:
            return self.lines.get(timeout=max(0.0, until_s - time.monotonic()))
        except queue.Empty:
            raise TimeoutError("the kernel box has nothing to say") from None

    @property
    def console(self) -> str:
        """What the kernel said, and what the tests wrote."""
        path = self._home / "console"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        """Switch it off."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        shutil.rmtree(self._home, ignore_errors=True)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            for line in pipe:
                self.lines.put(line)
        self.lines.put(None)

    def _command(self) -> list[str]:
        return [
            QEMU, "-machine", "pc", "-cpu", "Nehalem", "-accel", "tcg", "-icount", "shift=0",
            "-smp", "1", "-m", str(MEMORY_MB),
            "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", str(self._home / "vmlinux"), "-initrd", str(self._home / "initramfs"),
            "-append", "console=ttyS0 nokaslr mitigations=off quiet panic=-1",
            "-serial", f"file:{self._home / 'console'}",
            "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
            "-device", "virtio-9p-pci,fsdev=root,mount_tag=root",
            "-chardev", "file,id=reports,path=/dev/stdout", "-device", "virtio-serial-pci",
            "-device", "virtserialport,chardev=reports",
        ]  # fmt: skip


def _decompressed(image: Path) -> bytes:
    """The kernel in a bzImage: an emulated processor would take long to unpack it."""
    data = image.read_bytes()
    return lzma.LZMADecompressor().decompress(data[data.index(b"\xfd7zXZ\0") :])


def _initramfs(arguments: Sequence[str]) -> bytes:
    busybox = shutil.which(BUSYBOX)
    assert busybox is not None
    environment = {
        name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "VIRTUAL_ENV", "PYTHONPATH")
    }
    environment |= {MARK: "1", "HOME": "/run/box", "TMPDIR": "/run/box/tmp"}
    init = _INIT.replace("@JOB@", JOB).replace("@ROOT@", str(ROOT)).replace("@PYTHON@", sys.executable)
    archive = _Archive()
    for folder in ("bin", "dev", "proc", "root", "lower", "layer"):
        archive.folder(folder)
    archive.file("init", init.encode(), 0o755)
    archive.file("bin/busybox", Path(busybox).read_bytes(), 0o755)
    archive.file("job.json", json.dumps({"arguments": list(arguments), "environment": environment}).encode())
    lines = []
    for path in _modules():
        archive.file(path.name, path.read_bytes())
        lines.append(f"/{path.name} {_MODULES.get(path.stem, '')}\n")
    archive.file("modules", "".join(lines).encode())
    return archive.whole()


def _modules() -> list[Path]:
    """The drivers, each after those that it needs: those are named in the module itself."""
    paths = {path.stem.replace("-", "_"): path for path in KERNEL.rglob("*.ko")}
    ordered: list[Path] = []

    def add(name: str) -> None:
        path = paths.get(name.replace("-", "_"))
        if path is None or path in ordered:
            return  # in the kernel itself
        needs = path.read_bytes().partition(b"\0depends=")[2].partition(b"\0")[0].decode()
        for need in filter(None, needs.split(",")):
            add(need)
        ordered.append(path)

    for name in _MODULES:
        add(name)
    return ordered


class _Archive:
    """A cpio archive, "newc", as the kernel unpacks it (Documentation/driver-api/early-userspace)."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._count = 0

    def folder(self, name: str) -> None:
        self._add(name, b"", 0o40755)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        self._add(name, data, 0o100000 | mode)

    def whole(self) -> bytes:
        self._add("TRAILER!!!", b"", 0)
        return bytes(self._data)

    def _add(self, name: str, data: bytes, mode: int) -> None:
        self._count += 1
        fields = (self._count, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        self._data += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self._data += bytes(-len(self._data) % 4) + data
        self._data += bytes(-len(self._data) % 4)
