"""The replay behaves like PyBGPStream 2.0.4: streams, records, elements, errors; and its log."""

import ast
import copy
import datetime
import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from testbed.internet.bgp import AS_CONFED_SEQUENCE, AS_CONFED_SET, AS_SEQUENCE, AS_SET, PathAttributes, encode_update
from testbed.internet.mrt_writer import (
    BgpSession,
    encode_message,
    encode_peer_index_table,
    encode_rib,
    encode_state_change,
)
from tests.support.stream_replay import (
    AMS,
    FIRST,
    LON,
    SHIMS,
    START,
    import_shim,
    list_misuses,
    make_attributes,
    read_events,
    run_script,
    write_config,
    write_dump,
    write_index,
    write_small_archive,
)

pybgpstream = import_shim("pybgpstream")
low = import_shim("_pybgpstream")

ELEMENT_KEYS = {
    "R": ["next-hop", "as-path", "communities", "prefix"],
    "A": ["next-hop", "as-path", "communities", "prefix"],
    "W": ["prefix"],
    "S": ["old-state", "new-state"],
}


@pytest.fixture
def replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the log, and a small archive from which the broker answers."""
    config = write_config(tmp_path, write_small_archive(tmp_path / "archive"))
    monkeypatch.setenv("PYBGPSTREAM_REPLAY", str(config))
    return tmp_path


def open_whole(**arguments: Any) -> Any:
    return pybgpstream.BGPStream(from_time=START, until_time=START + 3600, **arguments)


def open_file(path: Path, kind: str = "upd-file", **arguments: Any) -> Any:
    stream = pybgpstream.BGPStream(data_interface="singlefile", **arguments)
    stream.set_data_interface_option("singlefile", kind, str(path))
    return stream


def test_every_element_type_has_exactly_its_fields(replay: Path) -> None:
    seen = {elem.type: list(elem.fields) for elem in open_whole()}
    assert seen == ELEMENT_KEYS


def test_an_element_has_its_own_attributes_and_those_of_its_record(replay: Path) -> None:
    elem = next(iter(open_whole(collector="rrc00", record_type="updates")))
    own = (elem.type, elem.peer_asn, elem.peer_address, elem.orig_time)
    assert own == ("A", 3333, "192.0.2.1", 0.0)
    assert elem.fields == {
        "next-hop": "192.0.2.1",
        "as-path": "3333 {64500,64501}",
        "communities": {"65000:666"},
        "prefix": "203.0.113.0/25",
    }
    assert isinstance(elem.fields, dict)
    assert type(elem.fields["communities"]) is set
    record = (elem.record_type, elem.time, elem.project, elem.collector, elem.router, elem.router_ip)
    assert record == ("update", START + 1.0, "ris", "rrc00", None, None)
    assert (elem.status, elem.dump_time, elem.dump_position) == ("valid", START, "start")
    assert elem.record.time == elem.record.rec.time == elem.rec.time


def test_a_rib_entry_tells_when_its_route_was_received(replay: Path) -> None:
    elem = next(iter(open_whole(record_type="ribs")))
    assert (elem.type, elem.time, elem.orig_time, elem.record_type) == ("R", float(START), float(START - 500), "rib")


def test_elements_and_records_print_as_the_library_prints_them(replay: Path) -> None:
    lines = [str(elem) for elem in open_whole(project="ris")]
    assert lines[0] == (
        f"rib|R|{START}.000000|ris|rrc00|None|None|3333|192.0.2.1|203.0.113.0/24|192.0.2.1|3333 1299 64496|1299:100|"
        "None|None"
    )
    prefix = f"update|{{}}|{START + 2}.500000|ris|rrc00|None|None|65551|2001:db8::1|"
    assert lines[4] == prefix.format("W") + "2001:db8:200::/48|None|None|None|None|None"
    assert lines[5] == prefix.format("A") + "2001:db8:100::/48|2001:db8::1|65551 64500||None|None"
    state = f"update|S|{START + 3}.000000|ris|rrc00|None|None|3333|192.0.2.1|None|None|None|None|ESTABLISHED|IDLE"
    assert lines[6] == state
    record = next(open_whole(project="ris").records())
    assert str(record) == f"rib|start|{START}.000000|ris|rrc00|None|None|valid|{START}"


def test_withdrawals_of_a_message_come_before_its_announcements_and_records_in_time_order(replay: Path) -> None:
    kinds = [(elem.type, int(elem.time - START)) for elem in open_whole()]
    assert [second for _, second in kinds] == sorted(second for _, second in kinds)
    assert [kind for kind, second in kinds if second == 2] == ["W", "A", "A"]
    assert [kind for kind, _ in kinds[:2]] == ["R", "R"]


@pytest.mark.parametrize(
    ("segments", "text"),
    [
        ((), ""),
        (((AS_SEQUENCE, (1, 23456, 4200000000)),), "1 23456 4200000000"),
        (((AS_SEQUENCE, (1,)), (AS_SEQUENCE, (2, 2))), "1 2 2"),
        (((AS_SEQUENCE, (1,)), (AS_SET, (3, 2))), "1 {3,2}"),
        (((AS_CONFED_SEQUENCE, (65001, 65002)), (AS_SEQUENCE, (1,))), "(65001 65002) 1"),
        (((AS_CONFED_SET, (65001, 65002)),), "[65001,65002]"),
        (((9, (1, 2)),), "<1 2>"),
    ],
)
def test_as_path_text_of_every_kind_of_segment(tmp_path: Path, segments: Any, text: str) -> None:
    message = encode_update(["192.0.2.0/24"], attributes=PathAttributes(segments, "192.0.2.1"))
    (elem,) = open_file(write_dump(tmp_path / "u", [encode_message(START, AMS, message)]))
    assert elem.fields["as-path"] == text


def test_every_peer_state_has_its_name(tmp_path: Path) -> None:
    changes = [encode_state_change(START + state, AMS, state, state % 8 + 1) for state in range(1, 9)]
    elems = list(open_file(write_dump(tmp_path / "u", changes)))
    names = ["IDLE", "CONNECT", "ACTIVE", "OPENSENT", "OPENCONFIRM", "ESTABLISHED", "CLEARING", "DELETED"]
    assert [elem.fields["old-state"] for elem in elems] == names
    assert elems[-1].fields["new-state"] == "IDLE"


@pytest.mark.parametrize(
    ("moment", "epoch"),
    [
        (START, START),
        (START + 0.9, START),
        (str(START), START),
        ("2024-03-05 08:00:00", START),
        ("2024-03-05T08:00", START),
        ("2024-03-05 08:00:00 UTC", START),
        ("2024-03-05 08:00:00 +0900", START),
        ("March 5, 2024 8am", START),
        (None, 0),
    ],
)
def test_times_are_numbers_digits_or_any_date_and_zones_are_ignored(moment: Any, epoch: int) -> None:
    assert pybgpstream.BGPStream._datestr_to_epoch(moment) == epoch


@pytest.mark.parametrize("moment", [datetime.datetime(2024, 3, 5), datetime.date(2024, 3, 5), b"2024"])
def test_a_datetime_as_time_is_an_assertion_error_and_noted(replay: Path, moment: Any) -> None:
    with pytest.raises(AssertionError):
        pybgpstream.BGPStream(from_time=moment)
    assert list_misuses(replay) == ["not-a-time"]


def test_the_window_is_the_archives_first_hour_wherever_it_is_asked_for(replay: Path) -> None:
    stream = pybgpstream.BGPStream(from_time="2014-07-01", until_time="2014-07-01 00:05:00", project="ris")
    begin = 1404172800
    records = list(stream.records())
    assert [(record.time - begin, record.dump_time - begin) for record in records] == [
        (0, 0), (0, 0), (1, 0), (2.5, 0), (3, 0), (300, 300),
    ]  # fmt: skip
    assert next(iter(pybgpstream.BGPStream(begin, begin + 9, record_type="ribs"))).orig_time == begin - 500


def test_a_window_ends_with_a_record_of_status_unknown_where_its_dump_goes_on(replay: Path) -> None:
    records = list(pybgpstream.BGPStream(START, START + 2, collectors=["rrc00"], record_type="updates").records())
    shown = [(record.status, record.dump_position, record.time - START) for record in records]
    assert shown == [("valid", "start", 1), ("valid", "middle", 2.5), ("unknown", "middle", 3)]
    assert list(records[-1]) == []


def test_records_are_counted_before_elements_are_taken(replay: Path) -> None:
    stream = open_whole()
    record = next(stream.records())
    assert [elem.type for elem in record] == ["R"]
    assert list(record) == []
    assert record.rec.get_next_elem() is None


def test_the_low_level_loop_of_the_documentation_runs(replay: Path) -> None:
    stream = low.BGPStream("anything", at="all")
    stream.add_interval_filter(START, START + 10)
    stream.add_filter("collector", "route-views.sg")
    stream.start()
    found = []
    while record := stream.get_next_record("an argument is ignored, as in the library"):
        while elem := record.get_next_elem():
            found.append((record.time, elem.type, elem.fields["prefix"]))
    assert found == [(START + 2.0, "A", "198.51.100.0/24")]
    assert stream.get_next_record() is None


def test_low_level_objects_look_like_the_extension_types(replay: Path) -> None:
    record = next(open_whole().records())
    for thing, name in (
        (low.BGPStream(), "BGPStream"),
        (record.rec, "BGPRecord"),
        (next(iter(record))._elem, "BGPElem"),
    ):
        assert (type(thing).__module__, type(thing).__name__) == ("_pybgpstream", name)
        assert repr(thing).startswith(f"<_pybgpstream.{name} object at ")
    for made in (low.BGPRecord, low.BGPElem):  # version 1's scripts made them
        with pytest.raises(TypeError, match=f"^cannot create '_pybgpstream.{made.__name__}' instances$"):
            made()
    assert list_misuses(replay) == ["removed-api", "removed-api"]
    assert {type(thing).__module__ for thing in (open_whole(), record)} == {"pybgpstream.pybgpstream"}


@pytest.mark.parametrize("name", ["prefix", "as_path", "origin", "timestamp", "nexthop"])
def test_what_an_element_lacks_is_reported_by_its_record_and_noted(replay: Path, name: str) -> None:
    elem = next(iter(open_whole()))
    with pytest.raises(AttributeError, match=f"^'_pybgpstream.BGPRecord' object has no attribute '{name}'$"):
        getattr(elem, name)
    with pytest.raises(AttributeError, match=f"^'_pybgpstream.BGPElem' object has no attribute '{name}'$"):
        getattr(elem._elem, name)
    with pytest.raises(AttributeError, match=f"^'_pybgpstream.BGPRecord' object has no attribute '{name}'$"):
        getattr(elem.record, name)
    with pytest.raises(AttributeError, match=f"^'_pybgpstream.BGPStream' object has no attribute '{name}'$"):
        getattr(open_whole(), name)
    assert list_misuses(replay) == ["unknown-attribute"] * 4


def test_a_key_that_a_type_lacks_is_an_ordinary_key_error_and_noted_once(replay: Path) -> None:
    counted = 0
    for elem in open_whole():
        counted += "64496" in elem.fields.get("as-path", "")
        if elem.type == "W":
            with pytest.raises(KeyError, match=r"^'as-path'$"):
                elem.fields["as-path"]
    assert counted == 1
    assert list_misuses(replay) == ["missing-field"]
    (event,) = read_events(replay, "misuse")
    assert "withdrawals" in event["detail"]


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("parse_filter_string", (), "function takes exactly 1 argument (0 given)"),
        ("parse_filter_string", (6,), "argument 1 must be str, not int"),
        ("parse_filter_string", (None,), "argument 1 must be str, not None"),
        ("add_filter", ("peer-asn",), "function takes exactly 2 arguments (1 given)"),
        ("add_filter", ("peer-asn", 3333), "argument 2 must be str, not int"),
        ("add_filter", ("collector", ["rrc00"]), "argument 2 must be str, not list"),
        ("add_interval_filter", (1,), "function takes exactly 2 arguments (1 given)"),
        ("add_interval_filter", ("1", 2), "'str' object cannot be interpreted as an integer"),
        ("add_interval_filter", (1.5, 2), "'float' object cannot be interpreted as an integer"),
        ("add_rib_period_filter", (None,), "'NoneType' object cannot be interpreted as an integer"),
        ("add_recent_interval_filter", ("1 h",), "function takes exactly 2 arguments (1 given)"),
        ("set_data_interface", (1,), "argument 1 must be str, not int"),
        ("set_data_interface_option", ("broker", "url"), "function takes exactly 3 arguments (2 given)"),
        ("get_data_interface_options", (), "function takes exactly 1 argument (0 given)"),
        ("get_data_interfaces", (1,), "BGPStream.get_data_interfaces() takes no arguments (1 given)"),
        ("set_live_mode", (True,), "BGPStream.set_live_mode() takes no arguments (1 given)"),
        ("start", (1,), "BGPStream.start() takes no arguments (1 given)"),
    ],
)
def test_wrong_arguments_are_refused_in_cpythons_words(method: str, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(TypeError) as refused:
        getattr(pybgpstream.BGPStream(), method)(*arguments)
    assert str(refused.value) == message


def test_keywords_are_refused_by_methods_and_unknown_ones_by_the_constructor(replay: Path) -> None:
    with pytest.raises(TypeError, match=r"^BGPStream.add_filter\(\) takes no keyword arguments$"):
        pybgpstream.BGPStream().add_filter(type="project", value="ris")
    with pytest.raises(TypeError, match=r"got an unexpected keyword argument 'start_time'"):
        pybgpstream.BGPStream(start_time="2024-03-05")
    assert list_misuses(replay) == ["unknown-argument"]


@pytest.mark.parametrize("copied", [pickle.dumps, copy.deepcopy, copy.copy])
def test_objects_of_the_stream_can_be_neither_pickled_nor_copied(replay: Path, copied: Callable[[Any], Any]) -> None:
    stream = low.BGPStream()
    stream.add_interval_filter(START, START + 60)
    stream.start()
    record = stream.get_next_record()
    for kind, thing in (("BGPElem", record.get_next_elem()), ("BGPRecord", record), ("BGPStream", stream)):
        with pytest.raises(TypeError, match=f"^cannot pickle '_pybgpstream.{kind}' object$"):
            copied(thing)
    assert list_misuses(replay) == []


def test_a_record_before_the_start_is_a_runtime_error() -> None:
    with pytest.raises(RuntimeError, match=r"^Could not get next record \(is the stream started\?\)$"):
        low.BGPStream().get_next_record()


def test_an_interval_that_ends_before_it_begins_does_not_start(replay: Path, capfd: Any) -> None:
    with pytest.raises(RuntimeError, match=r"^Could not start stream$"):
        list(pybgpstream.BGPStream(from_time=10, until_time=5))
    assert "ERROR: Interval 10,5 is invalid" in capfd.readouterr().err
    assert list_misuses(replay) == ["start-failed"]


def test_of_two_intervals_the_second_holds(replay: Path) -> None:
    stream = pybgpstream.BGPStream(START, START + 3600, project="ris", record_type="updates")
    stream.add_interval_filter(START, START + 2)
    assert [int(elem.time - START) for elem in stream] == [1, 1, 2, 2]


@pytest.mark.parametrize("live", [0, 1, 256])  # C takes the last eight bits
def test_a_recent_interval_reaches_back_from_now(replay: Path, live: int) -> None:
    now = START + 10**6
    stream = low.BGPStream()
    stream.add_recent_interval_filter("2 h", live)
    stream.start()
    assert stream.get_next_record().time == now - 7200
    (event,) = read_events(replay, "stream")
    assert (event["from"], event["until"], event["live"]) == (now - 7200, 0 if live == 1 else now, live == 1)


@pytest.mark.parametrize("text", ["two hours", "2", "2 weeks", "h"])
def test_a_recent_interval_that_cannot_be_read_is_ignored_with_a_word(replay: Path, capfd: Any, text: str) -> None:
    low.BGPStream().add_recent_interval_filter(text, 0)
    assert "Failed to determine suitable time interval" in capfd.readouterr().err
    assert list_misuses(replay) == ["filter-value"]


def test_live_mode_is_a_finite_replay_from_now(replay: Path) -> None:
    elems = list(pybgpstream.BGPStream(project="ris", record_type="updates"))
    assert len(elems) == 6
    assert elems[0].time == START + 10**6 + 1
    asked = open_whole()
    asked.set_live_mode()
    assert len(list(asked)) == 10
    assert len(list(open_whole())) == 10
    assert [event["live"] for event in read_events(replay, "stream")] == [True, True, False]
    assert {event["complete"] for event in read_events(replay, "consumed")} == {True}


def test_a_live_project_is_one_record_a_message_in_time_order(replay: Path) -> None:
    records = list(pybgpstream.BGPStream(projects=["ris-live", "routeviews-stream"]).records())
    assert [record.time for record in records] == sorted(record.time for record in records)
    assert {(record.type, record.status, record.dump_time) for record in records} == {("update", "valid", 0)}
    assert {(record.project, record.collector, record.router) for record in records} == {
        ("ris-live", "rrc00", None),
        ("routeviews-stream", "route-views.sg", "sg"),
    }
    states = [elem.fields for record in records for elem in record if elem.type == "S"]
    assert states == [{"old-state": "", "new-state": "IDLE"}]


def test_a_real_collector_is_answered_by_one_of_its_project_under_its_own_name(replay: Path) -> None:
    found = {(elem.project, elem.collector) for elem in open_whole(collectors=["rrc21", "rrc00", "route-views.linx"])}
    assert found == {("ris", "rrc21"), ("ris", "rrc00"), ("routeviews", "route-views.linx")}
    assert read_events(replay, "stream")[0]["collectors"]["rrc21"] == "rrc00"
    assert list_misuses(replay) == []


@pytest.mark.parametrize(
    ("router", "collectors"),
    [("sg", {"route-views.sg"}), ("amsix", {"route-views.amsix"}), ("saopaulo2", {"route-views2.saopaulo"})],
)
def test_a_router_is_known_by_its_own_name(replay: Path, router: str, collectors: set[str]) -> None:
    live = list(pybgpstream.BGPStream(project="routeviews-stream", filter=f"router {router}").records())
    assert {(record.collector, record.router) for record in live} == {(name, router) for name in collectors}
    assert {elem.collector for elem in open_whole(filter=f"router {router}")} == collectors
    assert list_misuses(replay) == []


def test_the_routers_name_narrows_the_collectors_and_a_near_miss_is_told_the_right_one(replay: Path) -> None:
    both = ["rrc00", "route-views.sg"]
    assert {elem.collector for elem in open_whole(collectors=both, filter="router sg rrc21")} == {"route-views.sg"}
    assert list(open_whole(filter="router route-views.linx")) == []
    (misuse,) = read_events(replay, "misuse")
    assert misuse["detail"] == "unknown router 'route-views.linx' (did you mean 'linx'?)"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"collectors": ["RRC00"]}, ["unknown-collector", "no-data"]),
        ({"collector": "rrc99"}, ["unknown-collector", "no-data"]),
        ({"collector": "rrc09"}, ["unknown-collector", "no-data"]),
        ({"projects": "ris"}, ["not-a-list", "unknown-project", "unknown-project", "unknown-project", "no-data"]),
        ({"project": "RIPE"}, ["unknown-project", "no-data"]),
        ({"filter": "router anything"}, ["unknown-router", "no-data"]),
        ({"filter": "router route-views.sg"}, ["unknown-router", "no-data"]),
        ({"project": "routeviews-stream", "filter": "router AMSIX"}, ["unknown-router", "no-data"]),
        ({"collector": "rrc00", "filter": "router sg"}, ["no-data"]),
        ({"record_type": "update"}, ["record-type", "no-data"]),
        ({"collector": "rrc00", "project": "routeviews"}, ["no-data"]),
        ({"filter": "origin 1"}, ["nothing-matched"]),
    ],
)
def test_what_matches_nothing_raises_nothing_and_is_noted(replay: Path, arguments: Any, what: list[str]) -> None:
    assert list(open_whole(**arguments)) == []
    assert list_misuses(replay) == what


def test_assigning_to_a_method_is_noted_and_works_as_in_python(replay: Path) -> None:
    stream = open_whole()
    stream.add_filter = "peer-asn 3333"
    assert stream.add_filter == "peer-asn 3333"
    with pytest.raises(AttributeError, match=r"'_pybgpstream.BGPStream' object attribute 'start' is read-only"):
        stream.stream.start = None
    with pytest.raises(AttributeError, match=r"'_pybgpstream.BGPStream' object has no attribute 'other'"):
        stream.stream.other = None
    assert list_misuses(replay) == ["assigned-attribute", "assigned-attribute", "unknown-attribute"]


def test_what_a_stream_gives_can_be_read_only(replay: Path) -> None:
    low = next(iter(open_whole().records())).rec
    elem = low.get_next_elem()
    for thing, kind in ((low, "BGPRecord"), (elem, "BGPElem")):
        with pytest.raises(AttributeError, match=f"attribute 'type' of '_pybgpstream.{kind}' objects is not writable"):
            thing.type = "A"
        with pytest.raises(AttributeError, match=f"'_pybgpstream.{kind}' object has no attribute 'note'"):
            thing.note = "kept"
        with pytest.raises(AttributeError, match="not writable"):
            del thing.type
    elem.fields["as-path"] = "1 2 3"
    assert elem.fields["as-path"] == "1 2 3"
    assert list_misuses(replay) == ["assigned-attribute"] * 4


def test_a_filter_after_the_start_has_no_effect_and_is_noted(replay: Path, capfd: Any) -> None:
    stream = open_whole(project="ris")
    first = next(iter(stream))
    stream.add_filter("peer-asn", "65551")
    assert {first.peer_asn, *(elem.peer_asn for elem in stream)} == {3333, 65551}
    assert list_misuses(replay) == ["after-start"]
    assert "no effect" in capfd.readouterr().err


def test_a_singular_argument_is_added_to_the_list_that_was_given(replay: Path) -> None:
    collectors = ["rrc00"]
    stream = open_whole(collectors=collectors, collector="route-views.sg")
    assert {elem.collector for elem in stream} == {"rrc00", "route-views.sg"}
    assert collectors == ["rrc00", "route-views.sg"]


SCRIPT = """
import pybgpstream
from _pybgpstream import BGPStream, BGPRecord, BGPElem
stream = pybgpstream.BGPStream(from_time="2020-01-01", until_time="2020-01-01 00:10", filter="ipversion 4")
for count, elem in enumerate(stream):
    if count == 1:
        break
print(elem.fields["prefix"])
elem.fields["asn"]
"""


def test_the_log_names_the_line_of_the_script_and_outlives_its_failure(tmp_path: Path) -> None:
    config = write_config(tmp_path, write_small_archive(tmp_path / "archive"))
    done = run_script(SCRIPT, tmp_path, config)
    assert (done.returncode, done.stdout) == (1, "203.0.113.0/25\n")
    assert done.stderr.endswith("KeyError: 'asn'\n")
    (event,) = read_events(tmp_path, "misuse")
    assert (event["what"], event["file"], event["line"]) == ("missing-field", "script.py", 9)
    (consumed,) = read_events(tmp_path, "consumed")
    assert (consumed["complete"], consumed["elems"], consumed["records"]) == (False, 2, 3)
    assert consumed["looked_at"] >= 3


def test_a_log_that_cannot_be_written_disturbs_nothing(tmp_path: Path) -> None:
    config = write_config(tmp_path, write_small_archive(tmp_path / "archive"))
    (tmp_path / "log.jsonl").mkdir()
    done = run_script(SCRIPT.replace('"asn"', '"prefix"'), tmp_path, config)
    assert (done.returncode, done.stdout, done.stderr) == (0, "203.0.113.0/25\n", "")


def test_without_a_log_nothing_is_written(tmp_path: Path) -> None:
    config = write_config(tmp_path, write_small_archive(tmp_path / "archive"))
    config.write_text(json.dumps({**json.loads(config.read_text()), "log": None}))
    run_script(SCRIPT, tmp_path, config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive", "replay.json", "script.py"]


@pytest.mark.parametrize("content", [None, "{", '{"log": null}', "[]"])
def test_without_an_archive_the_broker_cannot_be_reached(tmp_path: Path, content: str | None) -> None:
    config = tmp_path / "replay.json"
    if content is not None:
        config.write_text(content)
    done = run_script(SCRIPT, tmp_path, config if content else None)
    assert done.stderr.endswith("RuntimeError: Could not get next record (is the stream started?)\n")
    assert "PYBGPSTREAM_REPLAY" in done.stderr or "no 'archive'" in done.stderr


def test_the_module_imports_the_standard_library_dateutil_and_itself() -> None:
    modules = list(SHIMS.rglob("*.py"))
    assert len(modules) > 10
    imports = {node for path in modules for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))}
    names = {alias.name for node in imports if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom) and not node.level}
    assert {name.split(".")[0] for name in names} - sys.stdlib_module_names == {"dateutil", "_pybgpstream"}


def test_the_rib_period_filter_drops_ribs_that_follow_too_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = []
    for hour in range(3):
        begin = START + 3600 * hour
        table = [
            encode_peer_index_table(begin, "192.0.2.254", [AMS]),
            encode_rib(begin, 0, "192.0.2.0/24", [(0, begin, make_attributes(3333))]),
        ]
        write_dump(tmp_path / f"rib{hour}", table)
        rows.append((f"rib{hour}", "ris", "ribs", "rrc00", begin, 120))
    monkeypatch.setenv("PYBGPSTREAM_REPLAY", str(write_config(tmp_path, write_index(tmp_path, rows))))
    for period, hours in ((0, [0, 1, 2]), (3600, [0, 1, 2]), (7200, [0, 2])):
        stream = pybgpstream.BGPStream(START, START + 10**5)
        stream.add_rib_period_filter(period)
        assert [(elem.time - START) / 3600 for elem in stream] == hours


def test_at_the_same_second_ribs_come_before_updates_of_any_collector(replay: Path) -> None:
    path = replay / "archive"
    at_start = [encode_message(START, LON, encode_update(withdrawn=["2001:db8::/32"]))]
    write_dump(path / "mrt" / "rrc00" / "updates.0800.gz", at_start + FIRST)
    write_dump(path / "mrt" / "route-views.sg" / "updates.0800.bz2", at_start)
    kinds = [elem.type for elem in open_whole() if elem.time == START]
    assert kinds == ["R", "R", "W", "W"]


def test_at_the_same_second_the_dump_that_came_to_it_last_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = []
    for name, seconds in (("rrc00", (1, 5)), ("rrc01", (2, 5)), ("rrc03", (3, 5))):
        gone = [encode_message(START + second, AMS, encode_update(withdrawn=["192.0.2.0/24"])) for second in seconds]
        write_dump(tmp_path / name, gone)
        rows.append((name, "ris", "updates", name, START, 300))
    monkeypatch.setenv("PYBGPSTREAM_REPLAY", str(write_config(tmp_path, write_index(tmp_path, rows))))
    order = [(int(elem.time - START), elem.collector) for elem in open_whole()]
    assert order == [(1, "rrc00"), (2, "rrc01"), (3, "rrc03"), (5, "rrc03"), (5, "rrc01"), (5, "rrc00")]


def test_peers_of_a_rib_are_looked_up_by_their_index(tmp_path: Path) -> None:
    many = [BgpSession(100 + number, f"10.0.0.{number}", 1, "10.0.1.1") for number in range(200)]
    entries = [(number, START, make_attributes(100 + number)) for number in (199, 0, 17)]
    dump = [encode_peer_index_table(START, "10.0.1.1", many), encode_rib(START, 0, "0.0.0.0/0", entries)]
    elems = list(open_file(write_dump(tmp_path / "r", dump), "rib-file"))
    assert [(elem.peer_asn, elem.peer_address) for elem in elems] == [
        (299, "10.0.0.199"), (100, "10.0.0.0"), (117, "10.0.0.17"),
    ]  # fmt: skip
    assert {elem.fields["prefix"] for elem in elems} == {"0.0.0.0/0"}
