"""What the errors of a device mean for its user. Pure."""

import errno

_NOT_ALLOWED = "this user may not open it: add the user to the group video"
_GONE = "gone: unplugged?"
_WORDS = {
    errno.ENOENT: "no such device: is it plugged in? (framegate devices lists the cameras)",
    errno.EACCES: _NOT_ALLOWED,
    errno.EPERM: _NOT_ALLOWED,
    errno.EBUSY: "in use by another program",
    errno.ENODEV: _GONE,
    errno.ENXIO: _GONE,
    errno.ENOTTY: "not a V4L2 device",
    errno.ENOSPC: "no room for its pictures on the USB bus: ask for fewer or smaller ones",
    errno.EIO: "its driver reports a fault (input/output error)",
}


def in_words(error: OSError) -> str:
    """One line for a person."""
    return _WORDS.get(error.errno or 0) or error.strerror or "cannot be used"


def is_gone(error: OSError) -> bool:
    """Whether the device is no longer there."""
    return error.errno in (errno.ENODEV, errno.ENXIO)
