"""The figures' names are part of the product: dashboards and scripts read them."""

import msgspec
import pytest

from common.figures import InstanceFigures, ProcessFigures, RoleFigures, StreamFigures, ViewerFigures

NAMES = {
    ProcessFigures: "role name pid state cpu_percent rss_bytes uptime_s restarts counters",
    StreamFigures: "name source codecs width height fps bitrate_bps sync_interval_s viewers epoch samples_in "
    "samples_lost",
    ViewerFigures: "id stream transport peer user_agent state age_ms frames_sent frames_dropped splices "
    "bytes_sent connected_s frames_behind",
    InstanceFigures: "processes streams viewers",
    RoleFigures: "counters streams viewers",
}


@pytest.mark.parametrize("kind", NAMES)
def test_names(kind: type[msgspec.Struct]) -> None:
    promised = NAMES[kind].split()
    assert [field for field in promised if field not in kind.__struct_fields__] == []


def test_a_report_of_yesterdays_process_and_of_tomorrows_is_read() -> None:
    assert msgspec.json.decode(b"{}", type=RoleFigures) == RoleFigures()
    newer = b'{"counters":{"a":1,"b":0.5},"streams":[{"name":"a","source":"s","new":1}],"also":{}}'
    assert msgspec.json.decode(newer, type=RoleFigures) == RoleFigures(
        {"a": 1, "b": 0.5}, [StreamFigures("a", "s")]
    )


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"streams":[{}]}', b'{"counters":{"a":"b"}}', b"\xff"])
def test_what_is_no_report_is_refused(text: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        msgspec.json.decode(text, type=RoleFigures)
