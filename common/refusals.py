"""Messages from other processes that were refused: counted, and said where somebody has to do something."""

from common.errors import MessageError, VersionError
from common.logs import Logger

SAID_MAX = 64  # different lines; what comes beyond is counted only


class Refusals:
    """Of one process. messages: all; versions: of these, in another version of the protocol."""

    def __init__(self, log: Logger) -> None:
        self.messages = 0
        self.versions = 0
        self._log = log
        self._said: set[str] = set()

    def note(self, sender: str, error: MessageError) -> None:
        """One was refused. Another version is said once of each sender: nothing will come from there."""
        self.messages += 1
        if not isinstance(error, VersionError):
            self._log.debug("message_refused", sender=sender, reason=str(error))
            return
        self.versions += 1
        line = f"{sender}: {error}"
        if line not in self._said and len(self._said) < SAID_MAX:
            self._said.add(line)
            self._log.error("version_refused", sender=sender, reason=str(error))

    @property
    def counters(self) -> dict[str, int]:
        """For the figures."""
        return {"messages_refused": self.messages, "versions_refused": self.versions}
