"""Clock arithmetic: µs to the 90 kHz and 27 MHz clocks of MPEG and RTP. Pure; `now_us` is the one thin call.

Everything in framegate counts µs of the host's monotonic clock, which no one steps.
"""

import time

PTS_WRAP = 1 << 33  # ISO/IEC 13818-1 2.4.3.7: PTS, DTS and the PCR base have 33 bits
RTP_WRAP = 1 << 32


def now_us() -> int:
    """The host's monotonic clock, µs."""
    return time.monotonic_ns() // 1000


def ticks_90k(time_us: int) -> int:
    """µs to ticks of 90 kHz, unwrapped. Rounds, so that ticks → µs → ticks is the identity."""
    return (time_us * 9 + 50) // 100


def ticks(time_us: int, rate_hz: int) -> int:
    """µs to ticks of any clock, unwrapped and rounded."""
    return (time_us * rate_hz + 500_000) // 1_000_000
