"""From one settings to others: which process is touched, in which order, and which is not."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import Auth, Config, Http, Limits, Log, Processes, RoleLimits, Rtsp, Stream, Tls, User, Viewer
from common.errors import SettingsError
from deploy.changes import Add, Replace, Restart, Retire, Step, Tell, check_fixed, in_words, stale_servers, steps

replace = msgspec.structs.replace
OLD = Config(
    streams={"a": Stream(source="test:"), "b": Stream(source="camera:0")}, processes=Processes(muxers=2, servers=2)
)
PRESENT = {
    "muxer-0": "muxer", "muxer-1": "muxer", "capture-a": "capture", "capture-b": "capture", "server-0": "server",
    "server-1": "server",
}  # fmt: skip
TELL_MUXERS = (Tell("muxer-0"), Tell("muxer-1"))
TELL_SERVERS = Step((Tell("server-0"), Tell("server-1")), ("server-0", "server-1"))


def way(new: Config, old: Config = OLD, draining: tuple[str, ...] = (), again: bool = False) -> list[Step]:
    servers = [name for name, role in PRESENT.items() if role == "server"]
    return steps(old, new, PRESENT, draining, servers if again else stale_servers(old, new, servers))


def test_a_stream_more_one_less_and_one_changed() -> None:
    new = replace(OLD, streams={"b": Stream(source="camera:1"), "c": Stream(source="test:")})
    assert way(new) == [
        Step((Add("capture", "capture-c"), Restart("capture-b"), *TELL_MUXERS), ("muxer-0", "muxer-1")),
        TELL_SERVERS,
        Step((Retire("capture-a"),)),
    ]
    assert in_words(OLD, new, 0) == "1 stream added, 1 stream removed, 1 stream changed"


def test_a_process_that_files_share_is_told_and_goes_on() -> None:
    processes = Processes(muxers=1, servers=1, files=1)
    film = Stream(source="mock:film.mp4")
    old = Config(streams={"a": film, "b": film, "c": Stream(source="camera:0")}, processes=processes)
    present = {"muxer-0": "muxer", "files-0": "capture", "capture-c": "capture", "server-0": "server"}
    tell = [Tell("muxer-0"), Tell("files-0")]

    def first(new: Config) -> list[object]:
        return list(steps(old, new, present, (), ())[0].do)

    assert first(replace(old, streams={"a": film, "d": film, "c": Stream(source="camera:0")})) == tell
    assert first(replace(old, streams={**old.streams, "b": replace(film, loop=False)})) == tell
    assert first(replace(old, streams={**old.streams, "c": film})) == tell
    assert first(replace(old, streams={**old.streams, "c": replace(film, source="camera:1")})) == [
        Restart("capture-c"), Tell("muxer-0"),
    ]  # fmt: skip
    assert first(replace(old, streams={**old.streams, "b": replace(film, port=7000)}))[0] == Restart("files-0")
    assert first(replace(old, capture=replace(old.capture, retry_ms=1)))[0] == Restart("capture-c")
    assert Restart("files-0") in first(replace(old, capture=replace(old.capture, retry_ms=1)))


def test_files_that_shared_get_processes_of_their_own_and_back() -> None:
    film = Stream(source="mock:film.mp4")
    own = Config(streams={"a": film, "b": film})
    shared = replace(own, processes=Processes(files=1))
    present = {"muxer-0": "muxer", "server-0": "server"}
    assert steps(shared, own, {**present, "files-0": "capture"}, (), ()) == [
        Step((Add("capture", "capture-a"), Add("capture", "capture-b"), Tell("muxer-0")), ("muxer-0",)),
        Step((Tell("server-0"),), ("server-0",)),
        Step((Retire("files-0"),)),
    ]
    back = steps(own, shared, {**present, "capture-a": "capture", "capture-b": "capture"}, (), ())
    assert back[0].do == (Add("capture", "files-0"), Tell("muxer-0"))
    assert back[-1].do == (Retire("capture-a"), Retire("capture-b"))
    assert in_words(own, shared, 0) == "files 0 to 1"


def test_more_muxers_take_over_before_anybody_lets_go() -> None:
    new = replace(OLD, processes=Processes(muxers=3, servers=2))
    assert way(new) == [
        Step((Add("muxer", "muxer-2"), *TELL_MUXERS), ("muxer-0", "muxer-1", "muxer-2")),
        TELL_SERVERS,
    ]
    assert in_words(OLD, new, 0) == "muxers 2 to 3"


def test_a_muxer_goes_when_the_servers_have_changed_over() -> None:
    new = replace(OLD, processes=Processes(muxers=1, servers=2))
    assert way(new) == [Step((Tell("muxer-0"),), ("muxer-0",)), TELL_SERVERS, Step((Retire("muxer-1"),))]


def test_servers_are_replaced_one_by_one_under_names_that_are_free() -> None:
    new = replace(OLD, rtsp=Rtsp(session_timeout_s=30))
    assert way(new, draining=("server-2",))[-4:] == [
        Step((Add("server", "server-3"),), ("server-3",)),
        Step((Replace("server-0"),)),
        Step((Add("server", "server-4"),), ("server-4",)),
        Step((Replace("server-1"),)),
    ]
    assert in_words(OLD, new, 2) == "2 servers replaced"


def test_those_that_drain_hear_of_streams_too() -> None:
    new = replace(OLD, streams={"a": Stream(source="test:")})
    told = Step(
        (Tell("server-0"), Tell("server-1"), Tell("server-7")), ("server-0", "server-1", "server-7")
    )  # fmt: skip
    assert told in way(new, draining=("server-7",))


def test_more_servers_and_fewer() -> None:
    more = replace(OLD, processes=Processes(muxers=2, servers=4))
    assert way(more)[-1] == Step(
        (Add("server", "server-2"), Add("server", "server-3")), ("server-2", "server-3")
    )  # fmt: skip
    fewer = replace(OLD, processes=Processes(muxers=2, servers=1))
    assert way(fewer)[-1] == Step((Replace("server-1"),))
    assert in_words(OLD, fewer, 0) == "servers 2 to 1"


def test_fewer_and_replaced_at_once() -> None:
    new = replace(OLD, processes=Processes(muxers=2, servers=1), http=Http(port=OLD.http.port), viewer=Viewer(7))
    assert way(new)[-3:] == [
        Step((Add("server", "server-2"),), ("server-2",)),
        Step((Replace("server-0"),)),
        Step((Replace("server-1"),)),
    ]


@pytest.mark.parametrize(
    ("new", "restarted", "replaced"),
    [
        (replace(OLD, log=Log("debug")), set(), False),
        (replace(OLD, viewer=Viewer(age_max_ms=5)), {"muxer-0", "muxer-1"}, True),
        (replace(OLD, rtsp=Rtsp(connections_max=5)), set(), True),
        (replace(OLD, users={"alice": User(password="x")}), set(), True),
        (replace(OLD, auth=Auth(realm="door")), set(), True),
        (replace(OLD, tls=Tls(certificate="other.pem")), set(), True),
        (replace(OLD, rtsp=Rtsp(multicast_groups="239.1.2.0/24")), set(), True),
        (replace(OLD, limits=Limits(muxer=RoleLimits(cpus=(0,)))), {"muxer-0", "muxer-1"}, False),
        (replace(OLD, limits=Limits(server=RoleLimits(cpus=(0,)))), set(), True),
        (replace(OLD, limits=Limits(capture=RoleLimits(cpus=(0,)))), {"capture-a", "capture-b"}, False),
    ],
)
def test_who_is_concerned_by_what(new: Config, restarted: set[str], replaced: bool) -> None:
    do = [act for step in way(new) for act in step.do]
    assert {act.name for act in do if isinstance(act, Restart)} == restarted
    assert {act.name for act in do if isinstance(act, Replace)} == (
        {"server-0", "server-1"} if replaced else set()
    )
    assert not any(isinstance(act, Retire) for act in do)


def test_servers_with_multicast_groups_are_replaced_for_other_streams() -> None:
    old = replace(OLD, rtsp=Rtsp(multicast_groups="239.1.2.0/24"))
    assert stale_servers(old, old, ["server-0"]) == []
    assert stale_servers(old, replace(old, streams={"a": OLD.streams["a"]}), ["server-0"]) == ["server-0"]


def test_muxers_are_restarted_one_by_one() -> None:
    ways = way(replace(OLD, viewer=Viewer(start="live")))
    assert ways[2:4] == [Step((Restart("muxer-0"),), ("muxer-0",)), Step((Restart("muxer-1"),), ("muxer-1",))]


def test_captures_hear_of_another_log() -> None:
    assert {Tell("capture-a"), Tell("capture-b")} <= set(way(replace(OLD, log=Log("debug")))[0].do)


def test_all_servers_again_though_nothing_has_changed() -> None:
    assert [step.do for step in way(OLD, again=True)][-4:] == [
        (Add("server", "server-2"),), (Replace("server-0"),), (Add("server", "server-3"),), (Replace("server-1"),),
    ]  # fmt: skip
    assert in_words(OLD, OLD, 0) == "nothing has changed"
    assert in_words(OLD, replace(OLD, log=Log("debug")), 0) == "other settings taken"


@pytest.mark.parametrize(
    ("new", "path"),
    [
        (replace(OLD, host="::1"), "host"),
        (replace(OLD, runtime_dir="/x"), "runtime_dir"),
        (replace(OLD, rtsp=Rtsp(port=1)), "rtsp.port"),
        (replace(OLD, http=Http(port=1)), "http.port"),
    ],
)
def test_what_needs_another_start_is_refused_by_its_key(new: Config, path: str) -> None:
    check_fixed(OLD, OLD)
    with pytest.raises(SettingsError, match=rf"restart it - at `\$\.{path}`"):
        check_fixed(OLD, new)


COUNTS = st.integers(1, 5)
NAMES = st.frozensets(st.sampled_from("abcdef"), min_size=1)


@given(NAMES, COUNTS, COUNTS, NAMES, COUNTS, COUNTS, st.booleans())
def test_the_steps_lead_to_what_is_wanted(
    was: frozenset[str],
    muxers: int,
    servers: int,
    wanted: frozenset[str],
    to_muxers: int,
    to_servers: int,
    all_new: bool,
) -> None:
    old = Config(streams={n: Stream(source="test:") for n in was}, processes=Processes(muxers, servers))
    new = Config(streams={n: Stream(source="test:") for n in wanted}, processes=Processes(to_muxers, to_servers))
    present = {
        **{f"capture-{name}": "capture" for name in was},
        **{f"muxer-{index}": "muxer" for index in range(muxers)},
        **{f"server-{index}": "server" for index in range(servers)},
    }
    living = dict(present)
    old_servers = [name for name, role in present.items() if role == "server"]
    for step in steps(old, new, present, (), old_servers if all_new else ()):
        for act in step.do:
            if isinstance(act, Add):
                assert act.name not in present
                living[act.name] = act.role
            elif isinstance(act, Retire | Replace):
                del living[act.name]
            else:
                assert act.name in living
        assert set(step.awaits) <= living.keys()
        assert sum(role == "server" for role in living.values()) >= min(
            servers, to_servers
        )  # never fewer to serve
    assert {name for name, role in living.items() if role == "capture"} == {f"capture-{name}" for name in wanted}
    assert {name for name, role in living.items() if role == "muxer"} == {f"muxer-{n}" for n in range(to_muxers)}
    left = {name for name, role in living.items() if role == "server"}
    assert len(left) == to_servers
    assert not all_new or not left & set(old_servers)
