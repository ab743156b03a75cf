"""The replay's data interfaces, intact and damaged dump files, MRT reader, merging, speed and memory."""

import gzip
import ipaddress
import random
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from testbed.internet.bgp import (
    AS_CONFED_SEQUENCE,
    AS_SEQUENCE,
    AS_SET,
    PathAttributes,
    encode_attributes,
    encode_update,
)
from testbed.internet.mrt_writer import BgpSession, encode_message
from tests.support.stream_replay import (
    AMS,
    FIRST,
    LON,
    RIB,
    SIN,
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
broker = import_shim("_pybgpstream.broker")
decoding = import_shim("_pybgpstream.attribute_decoder")

UPDATES = [FIRST[0], FIRST[1], FIRST[2]]


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configured log and a small archive."""
    config = write_config(tmp_path, write_small_archive(tmp_path / "archive"))
    monkeypatch.setenv("PYBGPSTREAM_REPLAY", str(config))
    return tmp_path


def open_interface(interface: str, options: dict[str, Path | str], **arguments: Any) -> Any:
    stream = pybgpstream.BGPStream(data_interface=interface, **arguments)
    for option, value in options.items():
        stream.set_data_interface_option(interface, option, str(value))
    return stream


def open_single(path: Path, **arguments: Any) -> Any:
    return open_interface("singlefile", {"upd-file": path}, **arguments)


def list_statuses(stream: Any) -> list[tuple[str, str]]:
    return [(record.status, record.dump_position) for record in stream.records()]


def test_the_interfaces_are_listed_with_their_options() -> None:
    stream = pybgpstream.BGPStream()
    listed = {entry["name"]: entry["id"] for entry in stream.get_data_interfaces()}
    assert listed == {"broker": 1, "singlefile": 2, "kafka": 3, "csvfile": 4, "sqlite": 5}
    assert all(entry.keys() == {"id", "name", "description"} for entry in stream.get_data_interfaces())
    options = {name: [option["name"] for option in stream.get_data_interface_options(name)] for name in listed}
    assert options["broker"] == ["url", "param", "cache-dir"]
    assert options["singlefile"] == ["rib-file", "rib-type", "upd-file", "upd-type"]
    assert (options["csvfile"], options["sqlite"]) == (["csv-file"], ["db-file"])


@pytest.mark.parametrize("name", ["rrc06", "Broker", "ris-live", "file", ""])
def test_an_unknown_interface_is_a_value_error(logged: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"^Invalid data interface: {name}$"):
        pybgpstream.BGPStream(data_interface=name)
    with pytest.raises(ValueError, match=f"^Invalid data interface: {name}$"):
        pybgpstream.BGPStream().get_data_interface_options(name)
    assert list_misuses(logged) == ["interface", "interface"]


def test_an_unknown_option_is_a_value_error(logged: Path) -> None:
    with pytest.raises(ValueError, match=r"^Invalid data interface option: upd_file$"):
        pybgpstream.BGPStream().set_data_interface_option("singlefile", "upd_file", "x")
    assert list_misuses(logged) == ["interface-option"]


@pytest.mark.parametrize(
    ("interface", "options", "complaint"),
    [
        ("singlefile", {}, "At least one of the 'rib-file' and 'upd-file' options must be set"),
        ("csvfile", {}, "The 'csv-file' option must be set"),
        ("sqlite", {}, "The 'db-file' option must be set"),
        ("sqlite", {"db-file": "x.db"}, "Can't open database"),
        ("kafka", {"topic": "x"}, "no Kafka broker can be reached"),
    ],
)
def test_what_cannot_start_is_a_runtime_error(
    logged: Path, capfd: Any, interface: str, options: dict[str, Path | str], complaint: str
) -> None:
    with pytest.raises(RuntimeError, match=r"^Could not start stream$"):
        list(open_interface(interface, options))
    assert f"ERROR: {complaint}\n" in capfd.readouterr().err
    assert list_misuses(logged) == ["start-failed"]


@pytest.mark.parametrize("name", ["updates.gz", "updates.bz2", "updates.mrt", "without"])
def test_a_single_file_is_read_whatever_its_compression(logged: Path, name: str) -> None:
    records = list(open_single(write_dump(logged / name, UPDATES)).records())
    assert [record.time - START for record in records] == [1, 2.5, 3]
    assert {(record.project, record.collector, record.type) for record in records} == {
        ("singlefile", "singlefile", "update")
    }
    assert {record.dump_time for record in records} == {START + 10**6}
    assert [record.dump_position for record in records] == ["start", "middle", "end"]


def test_compression_is_told_by_the_content_not_by_the_name(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "really.gz", UPDATES).rename(tmp_path / "named.bz2")
    assert len(list(open_single(path))) == 5


def test_a_rib_and_updates_of_a_single_file_stream_are_merged(tmp_path: Path) -> None:
    rib, updates = write_dump(tmp_path / "rib.bz2", RIB), write_dump(tmp_path / "upd.gz", UPDATES)
    stream = open_interface("singlefile", {"upd-file": updates, "rib-file": rib, "upd-type": "mrt", "rib-type": "mrt"})
    assert [elem.type for elem in stream] == ["R", "R", "A", "A", "W", "A", "S"]


def test_project_collector_and_type_filters_do_not_touch_a_single_file(tmp_path: Path) -> None:
    arguments = {"project": "ris", "collector": "rrc00", "record_type": "ribs"}
    assert len(list(open_single(write_dump(tmp_path / "u", UPDATES), **arguments))) == 5


def test_a_window_cuts_a_single_file(tmp_path: Path) -> None:
    path = write_dump(tmp_path / "u", UPDATES)
    assert [elem.time - START for elem in open_single(path, from_time=START + 2, until_time=START + 2)] == [2.5, 2.5]
    assert list_statuses(open_single(path, from_time=START + 2)) == [("valid", "middle"), ("valid", "end")]
    assert list_statuses(open_single(path, from_time=START + 9)) == [("filtered-source", "end")]
    assert list_statuses(open_single(path, until_time=START)) == [("unknown", "start")]
    late = write_dump(tmp_path / "late", [UPDATES[2], UPDATES[0]])  # the last one read lies before the window
    assert list_statuses(open_single(late, from_time=START + 2)) == [("valid", "start")]


def test_an_interface_set_after_the_constructor_leaves_the_window_that_begins_now(logged: Path) -> None:
    stream = pybgpstream.BGPStream()
    stream.set_data_interface("singlefile")
    stream.set_data_interface_option("singlefile", "upd-file", str(write_dump(logged / "u", UPDATES)))
    assert list_statuses(stream) == [("filtered-source", "end")]
    assert read_events(logged, "stream")[0]["from"] == START + 10**6


@pytest.mark.parametrize("name", ["missing.gz", "folder", "http://example.net/updates.gz"])
def test_a_single_file_that_cannot_be_opened_is_an_empty_stream_and_a_line_on_stderr(
    logged: Path, capfd: Any, name: str
) -> None:
    (logged / "folder").mkdir()
    path = name if "://" in name else str(logged / name)
    assert list_statuses(open_interface("singlefile", {"upd-file": path})) == []
    assert f"ERROR: can't open file '{path}'" in capfd.readouterr().err
    assert list_misuses(logged) == ["no-data"]


def test_an_empty_single_file_is_an_empty_stream(tmp_path: Path) -> None:
    assert list_statuses(open_single(write_dump(tmp_path / "u", []))) == []


@pytest.mark.parametrize("kind", ["bmp", "ris-live"])
def test_a_format_that_is_not_read_here_is_an_error_of_the_first_record(tmp_path: Path, capfd: Any, kind: str) -> None:
    stream = open_interface("singlefile", {"upd-file": write_dump(tmp_path / "u", UPDATES), "upd-type": kind})
    with pytest.raises(RuntimeError, match=r"^Could not get next record \(is the stream started\?\)$"):
        list(stream)
    assert "Could not find format module" in capfd.readouterr().err


@pytest.mark.parametrize("suffix", ["", ".gz", ".bz2"])
def test_a_dump_that_is_cut_short_ends_in_a_corrupted_record(tmp_path: Path, capfd: Any, suffix: str) -> None:
    rng = random.Random("cut")
    noise = []
    for asn in range(1, 9999):
        message = encode_update([f"10.{rng.randrange(256)}.0.0/16"], attributes=make_attributes(3333, asn))
        noise.append(encode_message(START, AMS, message))
    noise *= 3  # more than one block of bzip2
    path = write_dump(tmp_path / f"u{suffix}", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    found = list_statuses(open_single(path))
    assert found[-1] == ("corrupted-record", "middle")
    assert {status for status, _ in found[:-1]} == {"valid"}
    assert 5000 < len(found) < 25000
    assert "WARNING: Unexpected EOF. Input file potentially truncated or corrupted." in capfd.readouterr().err


DAMAGED_MEMBER = gzip.compress(b"", mtime=0)[:10] + b"\x07\xff\xff"  # a deflate block of the type that is reserved


def test_a_gzip_file_that_is_damaged_further_on_ends_in_a_corrupted_source(tmp_path: Path, capfd: Any) -> None:
    path = write_dump(tmp_path / "u.gz", UPDATES * 100)
    path.write_bytes(path.read_bytes() + DAMAGED_MEMBER)
    found = list_statuses(open_single(path))
    assert found[-1] == ("corrupted-source", "middle")
    assert [status for status, _ in found[:-1]] == ["valid"] * 300
    assert "ERROR: Could not refill buffer" in capfd.readouterr().err


def test_a_single_file_that_is_damaged_from_its_beginning_is_an_empty_stream(tmp_path: Path, capfd: Any) -> None:
    path = tmp_path / "u.gz"
    path.write_bytes(DAMAGED_MEMBER)
    assert list_statuses(open_single(path)) == []
    assert f"can't read file '{path}'" in capfd.readouterr().err


@pytest.mark.parametrize("content", [b"no dump at all, but a page of text", b"\xff" * 400, b"\0" * 11])
def test_a_file_that_is_no_dump_is_a_corrupted_record(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "u"
    path.write_bytes(content)
    assert list_statuses(open_single(path)) == [("corrupted-record", "start")]


def test_a_message_that_cannot_be_parsed_is_a_corrupted_record_and_the_next_is_read(tmp_path: Path) -> None:
    broken = bytearray(UPDATES[0])
    broken[12 + 20 + 19 : 12 + 20 + 21] = b"\xff\xff"  # length of the withdrawn routes, after the two headers
    path = write_dump(tmp_path / "u", [UPDATES[0], bytes(broken), UPDATES[2]])
    stream = open_single(path)
    records = list(stream.records())
    assert [record.status for record in records] == ["valid", "corrupted-record", "valid"]
    assert (records[1].time, list(records[1])) == (0.0, [])


def test_a_rib_without_its_peers_is_corrupted(tmp_path: Path, capfd: Any) -> None:
    stream = open_interface("singlefile", {"rib-file": write_dump(tmp_path / "r", RIB[1:2])})
    assert list_statuses(stream) == [("corrupted-record", "start")]
    assert "Missing Peer Index Table" in capfd.readouterr().err


def test_no_damage_ends_in_a_traceback_of_the_reader(tmp_path: Path) -> None:
    rng = random.Random("damage")
    whole = b"".join(RIB + UPDATES)
    seen = set()
    for round_ in range(300):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path = tmp_path / "u"
        path.write_bytes(bytes(data[: rng.randint(1, len(data))]) if round_ % 3 == 0 else bytes(data))
        for record in open_single(path).records():
            seen.add(record.status)
            for elem in record:
                assert elem.fields.keys() & {"prefix", "old-state"}
    assert seen == {"valid", "corrupted-record", "corrupted-source"}


def test_an_empty_dump_of_the_archive_is_a_word_about_its_source(logged: Path) -> None:
    archive = logged / "archive"
    write_dump(archive / "mrt" / "rrc00" / "updates.0800.gz", [])
    (archive / "mrt" / "rrc00" / "updates.0805.gz").write_bytes(b"")
    records = list(pybgpstream.BGPStream(START, START + 3600, collectors=["rrc00"], record_type="updates").records())
    shown = [(record.status, record.dump_position, record.time - START) for record in records]
    assert shown == [("empty-source", "end", 0), ("empty-source", "end", 300)]


def test_a_dump_of_the_archive_that_is_missing_is_a_runtime_error(logged: Path, capfd: Any) -> None:
    (logged / "archive" / "mrt" / "rrc00" / "bview.gz").unlink()
    with pytest.raises(RuntimeError, match=r"^Could not get next record \(is the stream started\?\)$"):
        list(pybgpstream.BGPStream(START, START + 3600))
    assert "Giving up." in capfd.readouterr().err
    assert list_misuses(logged) == ["no-data"]


def test_a_csv_file_names_dumps_as_the_broker_does(logged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(logged / "archive")
    options: dict[str, Path | str] = {"csv-file": "index.csv"}
    whole = [str(elem) for elem in open_interface("csvfile", options)]
    assert whole == [str(elem) for elem in pybgpstream.BGPStream(START, START + 3600)]
    assert len(list(open_interface("csvfile", options, collector="rrc00", record_type="updates"))) == 6
    assert list(open_interface("csvfile", options, project="RIS")) == []
    assert len(list(open_interface("csvfile", options, from_time=START + 300, until_time=START + 700))) == 2
    assert (
        list(open_interface("csvfile", options, until_time=START + 700)) == []
    )  # a window from 0 wraps around, as in C
    assert list_misuses(logged) == ["unknown-project", "no-data", "no-data"]


def test_rows_of_a_csv_file_that_lie_in_the_future_are_left_out(logged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(logged / "archive")
    rows = [line.split(",") for line in Path("index.csv").read_text().splitlines()]
    late = [[*row[:-1], "4102444800"] if int(row[-1]) > START + 300 else row for row in rows]
    Path("index.csv").write_text("".join(",".join(row) + "\n" for row in late))
    kinds = [elem.type for elem in open_interface("csvfile", {"csv-file": "index.csv"})]
    assert kinds == ["R", "R", "A", "A", "W", "A", "S"]


def test_a_csv_file_is_read_whole_where_live_streams_begin_early(logged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(logged / "archive")
    whole = [str(elem) for elem in pybgpstream.BGPStream(START, START + 3600)]
    monkeypatch.setenv("PYBGPSTREAM_REPLAY", str(write_config(logged / "archive", None, now=START)))
    assert [str(elem) for elem in open_interface("csvfile", {"csv-file": "index.csv"})] == whole


@pytest.mark.parametrize("content", [None, "a,b,c\n", "u,ris,rib,rrc00,1,2,3\n", "u,ris,ribs,rrc00,now,2,3\n"])
def test_a_csv_file_that_cannot_be_read_is_an_error_of_the_first_record(
    tmp_path: Path, capfd: Any, content: str | None
) -> None:
    path = tmp_path / "index.csv"
    if content is not None:
        path.write_text(content)
    stream = open_interface("csvfile", {"csv-file": path})
    with pytest.raises(RuntimeError, match=r"^Could not get next record \(is the stream started\?\)$"):
        list(stream)
    assert str(path) in capfd.readouterr().err


def test_dumps_of_many_collectors_are_merged_by_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random("merge")
    rows, times = [], []
    for number in range(6):
        for part in range(4):
            begin = START + 300 * part
            seconds = sorted(rng.randrange(300) for _ in range(40))
            times += [begin + second for second in seconds]
            dump = [encode_message(begin + s, SIN, encode_update(withdrawn=["198.51.100.0/24"])) for s in seconds]
            name = f"rrc{number:02d}"
            write_dump(tmp_path / f"{name}.{part}.gz", dump)
            rows.append((f"{name}.{part}.gz", "ris", "updates", name, begin, 300))
    rng.shuffle(rows)
    monkeypatch.setenv("PYBGPSTREAM_REPLAY", str(write_config(tmp_path, write_index(tmp_path, rows))))
    records = list(pybgpstream.BGPStream(START, START + 3600).records())
    assert [record.time for record in records] == sorted(times)
    ends = [record for record in records if record.dump_position == "end"]
    assert len(ends) == len(rows)


def test_known_collectors_are_the_projects_own() -> None:
    assert {"rrc00", "rrc01", "rrc26"} < broker.RIS
    assert not {"rrc02", "rrc08", "rrc09", "rrc17", "rrc27", "RRC00"} & broker.RIS
    assert {"route-views2", "route-views6", "route-views.eqix", "route-views.sydney"} < broker.ROUTE_VIEWS


def test_a_collector_is_always_answered_by_the_same_one_of_the_archive(tmp_path: Path) -> None:
    filters = import_shim("_pybgpstream.filters").StreamFilters(collectors=sorted(broker.RIS))
    rows = [(f"{name}.gz", "ris", "updates", name, START, 300) for name in ("rrc00", "rrc04")]
    first = broker.find_dumps(write_index(tmp_path, rows), filters).collectors
    assert first == broker.find_dumps(write_index(tmp_path, rows[::-1]), filters).collectors
    assert first["rrc04"] == "rrc04"
    assert {answer for name, answer in first.items() if name != answer} == {"rrc00", "rrc04"}
    assert first.keys() == broker.RIS


def _encode_two_octet_path(segments: Sequence[tuple[int, Sequence[int]]]) -> bytes:
    return b"".join(struct.pack(f">BB{len(asns)}H", kind, len(asns), *asns) for kind, asns in segments)


def _encode_old_message(as_path: bytes, as4_path: bytes) -> bytes:
    """A BGP4MP_MESSAGE with two-octet AS numbers, and with AS4_PATH (RFC 6793) unless that is empty."""
    attributes = b"\x40\x01\x01\x00" + b"\x40\x02" + bytes([len(as_path)]) + as_path + b"\x40\x03\x04\xc0\x00\x02\x01"
    if as4_path:
        attributes += b"\xc0\x11" + bytes([len(as4_path)]) + as4_path
    body = struct.pack(">HH", 0, len(attributes)) + attributes + b"\x18\xcb\x00\x71"
    message = b"\xff" * 16 + struct.pack(">HB", 19 + len(body), 2) + body
    head = struct.pack(">HHHH", 3333, 12654, 0, 1) + bytes([192, 0, 2, 1, 192, 0, 2, 254])
    return struct.pack(">IHHI", START, 16, 1, len(head + message)) + head + message


TRANS = 23456


@pytest.mark.parametrize(
    ("as_path", "as4_path", "text"),
    [
        ([(AS_SEQUENCE, [3333, 1299])], [], "3333 1299"),
        ([(AS_SEQUENCE, [3333, TRANS, TRANS])], [(AS_SEQUENCE, [200000, 300000])], "3333 200000 300000"),
        ([(AS_SEQUENCE, [TRANS, TRANS])], [(AS_SEQUENCE, [200000, 300000])], "200000 300000"),
        ([(AS_SEQUENCE, [TRANS])], [(AS_SEQUENCE, [200000, 300000])], "23456"),
        ([(AS_SEQUENCE, [1, 2]), (AS_SET, [3, TRANS])], [(AS_SET, [3, 200000])], "1 2 {3,200000}"),
        ([(AS_CONFED_SEQUENCE, [65001]), (AS_SEQUENCE, [1, TRANS])], [(AS_SEQUENCE, [200000])], "(65001) 1 200000"),
    ],
)
def test_two_octet_paths_are_merged_with_their_as4_path(tmp_path: Path, as_path: Any, as4_path: Any, text: str) -> None:
    four = b"".join(struct.pack(f">BB{len(asns)}I", kind, len(asns), *asns) for kind, asns in as4_path)
    (elem,) = open_single(write_dump(tmp_path / "u", [_encode_old_message(_encode_two_octet_path(as_path), four)]))
    assert (elem.fields["as-path"], elem.fields["prefix"]) == (text, "203.0.113.0/24")
    assert elem.peer_asn == 3333


def test_two_octet_state_changes_and_other_messages_are_read(tmp_path: Path) -> None:
    head = struct.pack(">HHHH", 3333, 12654, 0, 1) + bytes([192, 0, 2, 1, 192, 0, 2, 254])
    change = struct.pack(">IHHI", START, 16, 0, len(head) + 4) + head + struct.pack(">HH", 3, 4)
    keepalive = b"\xff" * 16 + struct.pack(">HB", 19, 4)
    stream = open_single(write_dump(tmp_path / "u", [change, encode_message(START, AMS, keepalive)]))
    found = [[elem.fields for elem in record] for record in stream.records()]
    assert found == [[{"old-state": "ACTIVE", "new-state": "OPENSENT"}], []]


def test_one_message_may_withdraw_from_both_families(tmp_path: Path) -> None:
    unreach = b"\x80\x0f\x04\x00\x02\x01\x00"  # MP_UNREACH_NLRI of ::/0
    body = b"\x00\x04\x18\xcb\x00\x71" + struct.pack(">H", len(unreach)) + unreach
    message = b"\xff" * 16 + struct.pack(">HB", 19 + len(body), 2) + body
    elems = list(open_single(write_dump(tmp_path / "u", [encode_message(START, AMS, message)])))
    assert [(elem.type, elem.fields) for elem in elems] == [
        ("W", {"prefix": "203.0.113.0/24"}), ("W", {"prefix": "::/0"}),
    ]  # fmt: skip


def test_a_record_longer_than_the_librarys_buffer_is_corrupted(tmp_path: Path) -> None:
    header = struct.pack(">IHHI", START, 16, 4, 3 << 20)
    path = write_dump(tmp_path / "u", [UPDATES[0], header + bytes(3 << 20), UPDATES[2]])
    assert list_statuses(open_single(path)) == [("valid", "start"), ("corrupted-record", "middle")]


def test_ipv6_rib_entries_may_carry_the_full_attribute_and_a_link_local_next_hop(tmp_path: Path) -> None:
    attributes = PathAttributes(((AS_SEQUENCE, (65551,)),), "2001:db8::1")
    both = b"\x20" + bytes.fromhex("20010db8000000000000000000000001") + bytes.fromhex("fe80" + "00" * 13 + "01")
    full = b"\x80\x0e" + bytes([3 + len(both) + 1]) + b"\0\x02\x01" + both + b"\0"
    short = encode_attributes(attributes, abbreviated=True)
    plain = short[: short.index(b"\x80\x0e")]
    filters = import_shim("_pybgpstream.filters")
    decoder = decoding.AttributeDecoder(filters.ElementFilter(filters.StreamFilters()))
    for data in (short, plain + full):
        found = decoder.decode_attributes(data, 4, True)
        assert (found.route.as_path, found.reach[:2]) == ("65551", (6, "2001:db8::1"))


def test_many_attributes_and_prefixes_do_not_fill_the_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(decoding, "_KEPT", 8)
    messages = []
    for n in range(500):
        message = encode_update([f"10.{n % 40}.0.0/16"], attributes=make_attributes(3333, n % 50 + 1))
        messages.append(encode_message(START, AMS, message))
    sizes: list[int] = []
    keep = decoding._keep
    monkeypatch.setattr(decoding, "_keep", lambda cache, *pair: keep(cache, *pair) or sizes.append(len(cache)))
    elems = list(open_single(write_dump(tmp_path / "u", messages)))
    assert max(sizes) == 8
    assert [(elem.fields["prefix"], elem.fields["as-path"]) for elem in elems] == [
        (f"10.{n % 40}.0.0/16", f"3333 {n % 50 + 1}") for n in range(500)
    ]


def _draw_messages(count: int) -> list[bytes]:
    """`count` announcements, two per message, from many peers, for many prefixes and paths."""
    rng = random.Random("many")
    peers = [BgpSession(3000 + n, f"192.0.2.{n}", 12654, "192.0.2.254") for n in range(1, 30)]
    found = []
    for number in range(count // 2):
        prefixes = [f"10.{rng.randrange(256)}.{rng.randrange(256)}.0/24" for _ in range(2)]
        attributes = make_attributes(3333, 1299, rng.randrange(1, 4000), communities=[(1299, rng.randrange(100))])
        found.append(
            encode_message(START + number // 100, rng.choice(peers), encode_update(prefixes, attributes=attributes))
        )
    return found


MEASURED = """
import sys, time, pybgpstream
stream = pybgpstream.BGPStream(data_interface="singlefile")
stream.set_data_interface_option("singlefile", "upd-file", sys.path[0] + "/u.gz")
began = time.process_time()
count = 0
for elem in stream:
    count += elem.type == "A" and elem.fields["prefix"] != "" and elem.peer_asn > 0 and elem.time > 0
seconds = time.process_time() - began
peak = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]  # KiB
print(count, *peak, seconds)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux only")
def test_memory_stays_flat_from_20000_to_100000_elements(tmp_path: Path) -> None:
    peaks = {}
    for count in (20_000, 100_000):
        write_dump(tmp_path / "u.gz", _draw_messages(20_000) * (count // 20_000))
        found, peak, seconds = run_script(MEASURED, tmp_path).stdout.split()
        assert int(found) == count
        peaks[count] = int(peak)
        # a tenth of what one core does, so that a busy machine does not fail it
        assert count / float(seconds) > 6_000
    assert peaks[100_000] - peaks[20_000] < 4 * 1024


def test_a_stream_opens_its_dumps_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened_now: list[int] = []
    readers = import_shim("_pybgpstream.dump_reader")
    rows = []
    for part in range(6):
        write_dump(
            tmp_path / f"{part}", [encode_message(START + 300 * part, LON, encode_update(withdrawn=["2001:db8::/32"]))]
        )
        rows.append((f"{part}", "ris", "updates", "rrc00", START + 300 * part, 300))
    real = readers.mrt_reader.open_dump
    monkeypatch.setattr(readers.mrt_reader, "open_dump", lambda path: opened_now.append(1) or real(path))
    monkeypatch.setenv("PYBGPSTREAM_REPLAY", str(write_config(tmp_path, write_index(tmp_path, rows))))
    counts = [len(opened_now) for _ in pybgpstream.BGPStream(START, START + 3600).records()]
    assert counts == [1, 2, 3, 4, 5, 6]


def test_what_the_encoders_write_is_what_a_script_reads(tmp_path: Path) -> None:
    rng = random.Random("round trip")
    brackets = {AS_SEQUENCE: ("", " ", ""), AS_SET: ("{", ",", "}"), AS_CONFED_SEQUENCE: ("(", " ", ")")}
    messages, expected = [], []
    for second in range(400):
        segments = []
        for _ in range(rng.randint(0, 4)):
            asns = tuple(rng.randrange(1, 2 ** rng.choice((8, 16, 32))) for _ in range(rng.randint(1, 6)))
            segments.append((rng.choice(list(brackets)), asns))
        family = rng.choice((4, 6))
        next_hop = str(_draw_address(rng, family))
        communities = tuple((rng.randrange(65536), rng.randrange(65536)) for _ in range(rng.choice((0, 1, 2, 80))))
        attributes = PathAttributes(
            tuple(segments), next_hop, rng.randrange(3), rng.choice((None, 7)), communities=communities
        )
        announced = [_draw_network(rng, family) for _ in range(rng.randint(1, 5))]
        withdrawn = [_draw_network(rng, family) for _ in range(rng.randint(0, 3))]
        session = LON if family == 6 else AMS
        message = encode_update(announced, withdrawn, attributes)
        messages.append(encode_message(START + second + second / 1000, session, message, extended=True))
        path = " ".join(
            brackets[kind][0] + brackets[kind][1].join(map(str, asns)) + brackets[kind][2] for kind, asns in segments
        )
        texts = {f"{asn}:{value}" for asn, value in communities}
        time = START + second + second / 1000
        expected += [(time, session.peer_address, {"prefix": prefix}) for prefix in withdrawn]
        for prefix in announced:
            fields = {"next-hop": next_hop, "as-path": path, "communities": texts, "prefix": prefix}
            expected.append((time, session.peer_address, fields))
    found = [
        (elem.time, elem.peer_address, elem.fields) for elem in open_single(write_dump(tmp_path / "u.bz2", messages))
    ]
    assert len(found) == len(expected) > 1000
    for one, other in zip(found, expected, strict=True):
        assert one[0] == pytest.approx(other[0], abs=1e-6)
        assert one[1:] == other[1:]


def _draw_address(rng: random.Random, family: int) -> Any:
    """A random address; IPv6 addresses often have runs of zeros."""
    if family == 4:
        return ipaddress.IPv4Address(rng.getrandbits(32))
    groups = [rng.choice((0, rng.getrandbits(16))) for _ in range(8)]
    groups[0] = 0x2001  # no address that embeds an IPv4 one, whose text form varies
    return ipaddress.IPv6Address(b"".join(group.to_bytes(2, "big") for group in groups))


def _draw_network(rng: random.Random, family: int) -> str:
    kind = ipaddress.IPv4Network if family == 4 else ipaddress.IPv6Network
    return str(kind((int(_draw_address(rng, family)), rng.randint(0, 32 if family == 4 else 128)), strict=False))
