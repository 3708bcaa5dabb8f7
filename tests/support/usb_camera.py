"""An emulated USB camera that the kernel's own uvcvideo drives, with a cable that can be pulled. In a box only.

It speaks the protocol of USB/IP (Documentation/usb/usbip_protocol.rst) at one end of a socket pair; the other end
is given to vhci_hcd, the virtual host controller, which takes it for a plugged-in device. Two threads serve it:
one answers requests, one makes pictures at their times.

    request   the host asks: a control request of endpoint 0, or a buffer to be filled by the stream endpoint
    unlink    the host takes a request back

A picture is cut into payloads, each with the header of UVC 2.4.3.3; one payload fills one buffer of the host.
"""

import itertools
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from tests.support import usb_descriptors
from tests.support.usb_descriptors import BRIGHTNESS, CONTRAST, PAYLOAD_BYTES, PROCESSING_UNIT, Format
from tests.support.wait import until

CONTROLLER = Path("/sys/devices/platform/vhci_hcd.0")
MAKER, PRODUCT = "Framegate", "Test Camera"
NODE_WITHIN_S = 20.0
_DEVICE_ID, _HIGH_SPEED = 0x10002, 3
_SUBMIT, _UNLINK, _SUBMITTED, _UNLINKED = 1, 2, 3, 4
_STALL, _CONNECTION_RESET = -32, -104  # EPIPE, ECONNRESET
_HEADER_BYTES = 48  # of every message
_GET = {
    0x81: "current",
    0x82: "minimum",
    0x83: "maximum",
    0x84: "step",
    0x85: "length",
    0x86: "info",
    0x87: "default",
}
_PAYLOAD_HEADER = struct.Struct("<BBIIH")
_END_OF_PICTURE, _ERROR, _HAS_TIMES = 0x02, 0x40, 0x8C  # with end of header


class UsbCamera:
    """One camera. `with UsbCamera([...]) as camera:` has it plugged in, with a device node.

    frozen: it sends no pictures. damage: so many of the next pictures are sent with the error bit. began_us: when
    the first picture since the last start was taken.
    """

    def __init__(self, formats: Sequence[Format], serial: str = "0001", port: int = 0) -> None:
        self.formats, self.serial, self.port = formats, serial, port
        self.frozen = False
        self.damage = 0
        self.began_us = 0
        self.controls = {BRIGHTNESS: 0, CONTRAST: 32}
        self._plugged = False
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "UsbCamera":
        self.plug()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.unplug()

    # ---- the cable ---------------------------------------------------------------------------------------

    def plug(self) -> str:
        """Plug it in; returns the device node as soon as it is there, and has its stable names."""
        self._lock = threading.Lock()
        self._requests: deque[tuple[int, int]] = deque()  # of the stream endpoint: number, bytes at most
        self._payloads: deque[bytes] = deque()
        self._stream: tuple[Format, int] | None = None  # and the interval
        self._probe = self._probe_of(1, 0)
        self._plugged = True
        until(self._attach, NODE_WITHIN_S, "a free port of the virtual controller")
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._serve, self._take_pictures)]
        for thread in self._threads:
            thread.start()
        until(self._nodes, NODE_WITHIN_S, "a device node")
        return self._link()

    def unplug(self) -> None:
        """Pull the cable; returns when the device node is gone."""
        self._plugged = False
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the kernel was first
        for thread in self._threads:
            thread.join()
        self._socket.close()
        until(lambda: not self._nodes(), NODE_WITHIN_S, "the device node gone")
        for link in self._links():
            link.unlink(missing_ok=True)

    @property
    def stable_name(self) -> str:
        """The path that stays its own after a replug."""
        return f"/dev/v4l/by-id/{self._id}-video-index0"

    @property
    def usb_interface(self) -> str:
        """The name of its video interface in sysfs, for the driver's `unbind`."""
        return next(path.name for path in self._device_folder().glob("*:1.0"))

    def _attach(self) -> bool:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            try:
                (CONTROLLER / "attach").write_text(f"{self.port} {theirs.fileno()} {_DEVICE_ID} {_HIGH_SPEED}")
            except OSError:
                ours.close()  # the port is not yet free
                return False
        self._socket = ours
        return True

    def _device_folder(self) -> Path:
        return next(CONTROLLER.glob("usb*/")) / f"{self._bus}-{self.port + 1}"

    @property
    def _bus(self) -> str:
        return next(CONTROLLER.glob("usb*/")).name.removeprefix("usb")

    def _nodes(self) -> dict[str, str]:
        """The nodes by their index: uvcvideo makes one for pictures and one for what is said of them."""
        try:
            indexes = list(self._device_folder().glob("*:1.0/video4linux/video*/index"))
            found = {path.read_text().strip(): f"/dev/{path.parent.name}" for path in indexes}
        except OSError:
            return {}  # it is going: no such file, or no such device
        return found if len(found) == 2 and all(map(os.path.exists, found.values())) else {}

    # ---- its names: what udev does elsewhere -----------------------------------------------------------------

    @property
    def _id(self) -> str:
        return f"usb-{MAKER}_{PRODUCT}_{self.serial}".replace(" ", "_")

    def _links(self) -> list[Path]:
        by_path = f"platform-vhci_hcd.0-usb-0:{self.port + 1}:1.0"
        return [
            Path("/dev/v4l") / folder / f"{name}-video-index{index}"
            for index in ("0", "1")
            for folder, name in (("by-id", self._id), ("by-path", by_path))
        ]

    def _link(self) -> str:
        nodes = self._nodes()
        for link in self._links():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../{Path(nodes[link.name[-1]]).name}")
        return nodes["0"]

    # ---- requests ----------------------------------------------------------------------------------------

    def _serve(self) -> None:
        try:
            while True:
                header = self._receive(_HEADER_BYTES)
                command, number, _, inward, endpoint = struct.unpack_from(">5I", header)
                with self._lock:
                    if command == _SUBMIT:
                        (size,) = struct.unpack_from(">i", header, 24)
                        out = b"" if inward else self._receive(size)
                        self._submit(number, endpoint, bool(inward), size, header[40:48], out)
                    elif command == _UNLINK:
                        self._unlink(number, *struct.unpack_from(">I", header, 20))
        except OSError:
            pass  # the cable is pulled, at whichever end

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise ConnectionError("unplugged")
            data += more
        return data

    def _submit(self, number: int, endpoint: int, inward: bool, size: int, setup: bytes, out: bytes) -> None:
        if endpoint == usb_descriptors.STREAM_ENDPOINT and inward:
            self._requests.append((number, size))
            self._fill()
        elif endpoint == 0:
            answer = self._control(setup, out)
            if answer is None:
                self._answer(number, _STALL)
            elif inward:
                self._answer(number, 0, answer[:size])
            else:
                self._answer(number, 0, taken=len(out))
        else:
            self._answer(number, _STALL)

    def _unlink(self, number: int, target: int) -> None:
        waiting = next((request for request in self._requests if request[0] == target), None)
        if waiting is not None:
            self._requests.remove(waiting)
            self._stream = None  # the host takes its buffers back: it stops
            self._payloads.clear()
        status = 0 if waiting is None else _CONNECTION_RESET
        self._socket.sendall(struct.pack(">5Ii24x", _UNLINKED, number, 0, 0, 0, status))

    def _answer(self, number: int, status: int, data: bytes = b"", *, taken: int = 0) -> None:
        size = len(data) or taken
        self._socket.sendall(struct.pack(">5I5i8x", _SUBMITTED, number, 0, 0, 0, status, size, 0, 0, 0) + data)

    def _control(self, setup: bytes, out: bytes) -> bytes | None:
        """The answer to a request of endpoint 0; None: there is no such thing."""
        kind, request, value, index, _ = struct.unpack("<BBHHH", setup)
        unit, selector, what = index >> 8, value >> 8, index & 0xFF
        if kind == 0x80 and request == 6:
            return self._descriptor(value >> 8, value & 0xFF)
        if kind & 0x60 == 0:  # standard requests, USB 9.4: status, configuration, interface, features
            return bytes(2) if request == 0 else b"\1" if request == 8 else b"" if kind < 0x80 else None
        if what == usb_descriptors.STREAM_INTERFACE and selector in (1, 2):
            return self._streaming(request, commit=selector == 2, out=out)
        if what == usb_descriptors.CONTROL_INTERFACE and unit == PROCESSING_UNIT and selector in self.controls:
            return self._setting(request, selector, out)
        return None

    def _descriptor(self, kind: int, number: int) -> bytes | None:
        if kind == 1:
            return usb_descriptors.device()
        if kind == 2:
            return usb_descriptors.configuration(self.formats)
        if kind == 3:
            texts = {1: MAKER, 2: PRODUCT, 3: self.serial}
            text = b"\x09\x04" if number == 0 else texts.get(number, "").encode("utf-16-le")
            return bytes([2 + len(text), 3]) + text
        return None

    def _streaming(self, request: int, *, commit: bool, out: bytes) -> bytes | None:
        """Probe and commit, UVC 4.3.1.1: the host says what it wants, and begins."""
        if request == 0x01:
            (interval,) = struct.unpack_from("<I", out, 4)
            number = min(max(out[2], 1), len(self.formats))
            self._probe = self._probe_of(number, interval)
            if commit:
                (interval,) = struct.unpack_from("<I", self._probe, 4)
                self._payloads.clear()
                self._stream = self.formats[number - 1], interval
            return b""
        match _GET.get(request):
            case "current" | "minimum" | "maximum" | "default":
                return self._probe
            case "length":
                return struct.pack("<H", len(self._probe))
            case "info":
                return b"\3"
        return None

    def _probe_of(self, number: int, interval: int) -> bytes:
        one = self.formats[number - 1]
        nearest = min(one.intervals, key=lambda offered: abs(offered - (interval or one.intervals[0])))
        return usb_descriptors.probe(number, one, nearest)

    def _setting(self, request: int, selector: int, out: bytes) -> bytes | None:
        if request == 0x01:
            (self.controls[selector],) = struct.unpack_from("<h", out)
            return b""
        answers = {
            "current": self.controls[selector], "minimum": -64 if selector == BRIGHTNESS else 0, "maximum": 64,
            "step": 1, "length": 2, "default": 0,
        }  # fmt: skip
        name = _GET.get(request, "")
        return b"\3" if name == "info" else struct.pack("<h", answers[name]) if name in answers else None

    # ---- pictures ----------------------------------------------------------------------------------------

    def _take_pictures(self) -> None:
        while self._plugged:
            with self._lock:
                stream = self._stream
            if stream is None:
                time.sleep(0.002)
                continue
            try:
                self._take(*stream)
            except OSError:
                return  # unplugged

    def _take(self, one: Format, interval: int) -> None:
        """Pictures of one start of the stream, until it is stopped."""
        began_s = time.monotonic()
        self.began_us = round(began_s * 1e6)
        stream = self._stream
        for number in itertools.count():
            due_s = began_s + number * interval / 1e7
            # A slow host is waited for: uvcvideo counts what it has no buffer for, but not what never came.
            while (wait_s := due_s - time.monotonic()) > 0 or self.frozen or self._payloads:
                if not self._plugged or self._stream is not stream:
                    return
                time.sleep(min(max(wait_s, 0.002), 0.02))
            with self._lock:
                if not self._plugged or self._stream is not stream:
                    return
                self._cut(one.pictures[number % len(one.pictures)], number)
                self._fill()

    def _cut(self, picture: bytes, number: int) -> None:
        """Into payloads. The picture's number alternates a bit, by which the host tells them apart."""
        error = _ERROR if self.damage > 0 else 0
        self.damage -= bool(error)
        clock = int(time.monotonic() * usb_descriptors.CLOCK_HZ) & 0xFFFFFFFF
        size = PAYLOAD_BYTES - _PAYLOAD_HEADER.size
        for start in range(0, len(picture), size):
            part = picture[start : start + size]
            last = _END_OF_PICTURE if start + size >= len(picture) else 0
            flags = _HAS_TIMES | last | error | number & 1
            frame = clock // 1000 & 0x7FF  # of the bus, a millisecond each
            self._payloads.append(_PAYLOAD_HEADER.pack(_PAYLOAD_HEADER.size, flags, clock, clock, frame) + part)

    def _fill(self) -> None:
        while self._requests and self._payloads:
            number, size = self._requests.popleft()
            self._answer(number, 0, self._payloads.popleft()[:size])
