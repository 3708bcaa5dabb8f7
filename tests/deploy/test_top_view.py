"""What the keys of `framegate top` do, and what is shown then."""

from hypothesis import given
from hypothesis import strategies as st

from common.figures import InstanceFigures, ProcessFigures, StreamFigures, ViewerFigures
from deploy.top_view import FILTER_MAX, SORTS, View, foot, press, shown


def viewer(stream: str, agent: str = "vlc", age_ms: float = 1.0, dropped: int = 0, sent: int = 0) -> ViewerFigures:
    return ViewerFigures("1", stream, "http-ts", "10.0.0.7:9", agent, "reading", age_ms, 2, dropped, 4, sent, 6.0)


FIGURES = InstanceFigures(
    [ProcessFigures("muxer", "muxer-0", 1, "up", 5.0, 1, 2.0, 0),
     ProcessFigures("server", "server-0", 2, "up", 50.0, 1, 2.0, 0)],
    [StreamFigures("yard", "test:", bitrate_bps=1), StreamFigures("door", "camera:0", bitrate_bps=9)],
    [viewer("yard", age_ms=5.0), viewer("door", "mpv", dropped=7), viewer("yard", sent=99, age_ms=50.0)],
)  # fmt: skip


def keys(text: str, view: View | None = None) -> View:
    view = view or View()
    for key in text:
        view = press(view, key)
    return view


def test_s_goes_round_the_orders_and_q_ends() -> None:
    assert [keys("s" * count).sort for count in range(len(SORTS) + 1)] == [*SORTS, SORTS[0]]
    assert keys("q").over
    assert not keys("x\t").over


def test_a_filter_is_typed_kept_and_cleared() -> None:
    assert keys("fdoor") == View(filter="door", typing=True)
    assert keys("/dooq\x7fr\r") == View(filter="door")
    assert keys("fdoor\x1b") == View()
    assert keys("fdoor\r\x1b") == View()
    assert keys("f" + "x" * 200).filter == "x" * FILTER_MAX
    assert "filter: door_" in foot(keys("fdoor"))
    assert "sort: load" in foot(keys("s"))


def test_the_filter_holds_for_all_three_tables() -> None:
    left = shown(FIGURES, View(filter="DOOR"))
    assert (left.processes, [s.name for s in left.streams], len(left.viewers)) == ([], ["door"], 1)
    assert len(shown(FIGURES, View(filter="mpv")).viewers) == 1
    assert [p.name for p in shown(FIGURES, View(filter="server")).processes] == ["server-0"]
    assert shown(FIGURES, View(filter="nothing")) == InstanceFigures()


def test_the_orders() -> None:
    assert [p.name for p in shown(FIGURES, View(sort="load")).processes] == ["server-0", "muxer-0"]
    assert [s.name for s in shown(FIGURES, View(sort="name")).streams] == ["door", "yard"]
    assert [s.name for s in shown(FIGURES, View(sort="load")).streams] == ["door", "yard"]
    assert [v.age_ms for v in shown(FIGURES, View(sort="age")).viewers] == [50, 5, 1]
    assert shown(FIGURES, View(sort="drops")).viewers[0].frames_dropped == 7
    assert shown(FIGURES, View(sort="load")).viewers[0].bytes_sent == 99


@given(st.text(max_size=50))
def test_no_key_is_too_much(text: str) -> None:
    shown(FIGURES, keys(text))
    assert foot(keys(text)).isprintable()
