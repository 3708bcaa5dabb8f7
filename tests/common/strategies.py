"""Any message, for hypothesis."""

from hypothesis import strategies as st

from common.messages import (
    Announce,
    Describe,
    Described,
    Drain,
    Ended,
    Figures,
    FiguresRequest,
    Forget,
    FrameMessage,
    Head,
    Hello,
    KeyFrameRequest,
    Message,
    Order,
    Outcome,
    ReadStart,
    ReadStop,
    Ready,
    Reconfigure,
    Reconfigured,
    Report,
    SampleMessage,
    SourceState,
    TunnelEnd,
    Welcome,
)
from common.sample import TIME_US_MAX, TRACKS_MAX, Codec, Payload, Track

U16 = st.integers(0, (1 << 16) - 1)
U32 = st.integers(0, (1 << 32) - 1)
U63 = st.integers(0, (1 << 63) - 1)
TIMES = st.integers(-TIME_US_MAX, TIME_US_MAX)
LETTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(LETTERS, max_size=500)
NAMES = st.text(LETTERS, min_size=1, max_size=80)
STREAMS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
TICKETS = st.lists(U63, max_size=5).map(tuple)
PLACES = st.none() | st.tuples(U63, U63)
HEADS = st.builds(Head, STREAMS, st.sampled_from(Payload), U63, U63, PLACES)
TRACKS = st.builds(
    Track,
    codec=st.sampled_from(Codec),
    width=st.integers(0, 16384),
    fps=st.floats(0, 1000),
    channels=st.integers(0, 8),
    config=st.binary(max_size=30),
)


def each(tracks: int, numbers: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[int, ...]]:
    return st.tuples(*[numbers] * tracks)


COUNTERS = st.tuples(*[st.integers(0, 15)] * 4)

WITHOUT_MEDIA: st.SearchStrategy[Message] = st.one_of(
    st.builds(Announce, U63, st.lists(TRACKS, min_size=1, max_size=2).map(tuple)),
    st.builds(SourceState, st.booleans(), TEXTS, st.booleans()),
    st.builds(KeyFrameRequest, st.booleans()),
    st.builds(TunnelEnd, st.booleans(), NAMES, TEXTS, st.binary(max_size=100)),
    st.builds(Hello, NAMES, U63),
    st.builds(Welcome, NAMES, U63, st.lists(HEADS, max_size=3).map(tuple)),
    st.builds(Describe, U63, STREAMS),
    st.builds(Described, U63, STREAMS, TEXTS, TEXTS),
    st.builds(ReadStart, U63, U63, STREAMS, PLACES, U32),
    st.builds(ReadStop, U63, PLACES),
    st.builds(Forget, U63),
    st.builds(Ended, U63, TEXTS),
    st.builds(Ready, TEXTS, NAMES, U32, st.dictionaries(TEXTS, st.integers(0, 65535), max_size=3)),
    st.builds(Report, TEXTS, NAMES, U32, st.binary(max_size=100)),
    st.builds(FiguresRequest, U63, st.booleans()),
    st.builds(Figures, U63, st.binary(max_size=100)),
    st.builds(Reconfigure, U63),
    st.builds(Reconfigured, NAMES, U32, U63),
    st.builds(Drain),
    st.builds(
        Order,
        U63,
        st.sampled_from(["reload", "scale"]),
        st.sampled_from(["", "muxer", "server"]),
        U16,
        st.booleans(),
    ),
    st.builds(Outcome, U63, st.integers(0, 255), TEXTS),
)
WITH_MEDIA: st.SearchStrategy[Message] = st.one_of(
    st.builds(SampleMessage, U63, U63, TIMES, st.none() | TIMES, st.sampled_from(Codec), st.booleans()),
    st.integers(1, TRACKS_MAX).flatmap(
        lambda tracks: st.builds(
            FrameMessage, STREAMS, st.sampled_from(Payload), st.integers(0, tracks - 1), U63, U63,
            st.integers(0, 2), st.booleans(), TIMES, each(tracks, U16), each(tracks, U32), each(tracks, U32),
            each(tracks, U32), COUNTERS, COUNTERS, st.integers(1, 9999), st.booleans(), TICKETS, TICKETS, TICKETS,
        )
    ),
)  # fmt: skip
