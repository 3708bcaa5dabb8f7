"""The nonces of Digest: made and checked without being kept (RFC 7616 3.3, 5.4). Pure.

A nonce is its own birth certificate: when it was made, and a signature that also covers whom it was made for (its
scope: one RTSP connection, or the address of an HTTP client, which comes again by another connection, and perhaps
to another of our processes). What is kept is how often one was used, and of those who knew the password only.
"""

import hmac

NONCE_AGE_US_MAX = 300_000_000
USED_MAX = 4096  # nonces whose count is kept; of older ones none is taken any more

_TIME_DIGITS = 16
_SERIAL_DIGITS = 8
_SIGNATURE_DIGITS = 32


class Nonces:
    """secret: known to all processes that check each other's, and to nobody else."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._serial = 0
        self._used: dict[str, int] = {}  # counts by nonce, in the order of their first use
        self._forgotten_us = -1  # nonces that old may have been used

    def make(self, scope: str, now_us: int) -> str:
        """A new one."""
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        head = f"{now_us:0{_TIME_DIGITS}x}{self._serial:0{_SERIAL_DIGITS}x}"
        return head + self._signature(head, scope)

    def use(self, nonce: str, scope: str, count: int | None, now_us: int) -> bool:
        """Whether a nonce is one of ours, for this scope, young, and not used as often before.

        count: how often the client says to have used it; None where it does not say. To be called only when the
        client has proved to know a password.
        """
        head, signature = nonce[:-_SIGNATURE_DIGITS], nonce[-_SIGNATURE_DIGITS:]
        if not hmac.compare_digest(signature.encode(), self._signature(head, scope).encode()):
            return False
        made_us = int(head[:_TIME_DIGITS], 16)
        if not 0 <= now_us - made_us <= NONCE_AGE_US_MAX or made_us <= self._forgotten_us:
            return False
        if count is None:
            return True
        if count <= self._used.get(nonce, 0):
            return False
        self._used[nonce] = count
        if len(self._used) > USED_MAX:
            oldest = next(iter(self._used))
            del self._used[oldest]
            self._forgotten_us = max(self._forgotten_us, int(oldest[:_TIME_DIGITS], 16))
        return True

    def _signature(self, head: str, scope: str) -> str:
        text = f"{head} {scope}".encode("utf-8", "surrogatepass")
        return hmac.digest(self._secret, text, "sha256").hex()[:_SIGNATURE_DIGITS]
