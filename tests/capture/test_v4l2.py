"""The cameras of a machine, as `v4l2.cameras` finds them."""

import errno
import os
from pathlib import Path

import pytest

from capture import v4l2
from capture.camera_modes import OfferedSize
from common.errors import SourceError
from tests.capture.fake_camera import PATH, FakeCamera


def test_cameras_are_listed_with_their_lasting_names_and_what_hides_them(
    camera: FakeCamera, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    camera.modes = {"YUYV": [(640, 480, [15.0, 30.0])], "MJPG": [(1280, 720, [30.0])]}
    for name in ("video0", "video1", "video2", "video10", "vbi0"):
        (tmp_path / name).symlink_to(PATH)
    by_id = tmp_path / "v4l" / "by-id"
    by_id.mkdir(parents=True)
    (by_id / "usb-Fake-video-index0").symlink_to("../../video0")
    real = v4l2.Device

    def opens(path: str) -> v4l2.Device:
        if path.endswith("video1"):
            raise SourceError(f"{path}: no camera")
        if path.endswith("video2"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path)

    monkeypatch.setattr(v4l2, "Device", opens)
    monkeypatch.setattr(os.path, "realpath", lambda link: os.path.normpath(link.parent / os.readlink(link)))
    found = v4l2.cameras(tmp_path)
    assert [camera.device for camera in found] == [
        str(tmp_path / name) for name in ("video0", "video2", "video10")
    ]
    assert found[0].name == "Fake Camera"
    assert found[0].links == (str(by_id / "usb-Fake-video-index0"),)
    assert [offer.fourcc for offer in found[0].formats] == ["YUYV", "MJPG"]
    assert found[0].formats[0].sizes == (OfferedSize(640, 480, (15.0, 30.0)),)
    assert found[1].problem == "this user may not open it: add the user to the group video"
    assert found[2].links == ()
    assert camera.opened == 0
