"""The errors framegate raises on purpose, and the exit codes that say whether a restart can help.

A remote's fault closes one connection, a device's fault restarts one source, a setting's fault ends the
process with `EXIT_SETTINGS` and is never retried; anything else is ours, crashes, and is restarted.
"""

EXIT_OK = 0
EXIT_CRASH = 1
EXIT_NO_MEMORY = 71  # EX_OSERR of sysexits.h: no more memory, by the process's own limit or the machine's
EXIT_SETTINGS = 78  # EX_CONFIG of sysexits.h: a restart with the same settings cannot succeed


class FramegateError(Exception):
    """Base of all errors raised on purpose. The text is one line that says what to do."""


class SettingsError(FramegateError):
    """A setting, flag or source text is wrong. Never retried."""


class SourceError(FramegateError):
    """A camera or file cannot be read now. Retried with backoff; other streams run on."""


class SourceEndedError(SourceError):
    """A file has been read to its end, and is not to begin again. Tried again when it is wanted anew."""


class MessageError(FramegateError):
    """A message from another process is malformed or of another version. Counted and refused."""


class VersionError(MessageError):
    """A message in another version of the protocol: nothing from there can be understood."""


class MediaError(FramegateError):
    """A sample or packet cannot be carried (codec, size, time). The caller's fault, named."""


class SessionError(FramegateError):
    """A `MediaSession` verb was used against its contract."""
