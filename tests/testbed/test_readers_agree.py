"""mrtparse and the pybgpstream replay read what the encoders wrote, and agree on every element.

mrtparse is an independent reader; the replay's stream is what analysis code sees.
"""

import gzip
import ipaddress
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.internet.archive import _compress_gzip
from testbed.internet.bgp import (
    AS_CONFED_SEQUENCE,
    AS_CONFED_SET,
    AS_SEQUENCE,
    AS_SET,
    MAX_MESSAGE,
    PathAttributes,
    encode_update,
    make_as_path,
)
from testbed.internet.mrt_writer import (
    ESTABLISHED,
    IDLE,
    BgpSession,
    encode_message,
    encode_peer_index_table,
    encode_rib,
    encode_state_change,
)
from testbed.internet.scenarios import ROUTING
from tests.support.mrt_elements import Element, load_archive, read_elements
from tests.support.stream_replay import import_shim

START = 1709625600
STATES = ("", "IDLE", "CONNECT", "ACTIVE", "OPENSENT", "OPENCONFIRM", "ESTABLISHED")

asns = st.integers(1, 2**32 - 1)
halves = st.integers(0, 2**16 - 1)


@st.composite
def draw_prefix(draw: st.DrawFn, version: int) -> str:
    bits = 32 if version == 4 else 128
    length = draw(st.integers(0, bits))
    network = draw(st.integers(0, 2**bits - 1)) >> (bits - length) << (bits - length)
    kind = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network
    return str(kind((network, length)))


def draw_address(version: int) -> st.SearchStrategy[str]:
    return st.ip_addresses(v=version).map(str)  # type: ignore[arg-type]


segments = st.lists(
    st.tuples(
        st.sampled_from([AS_SET, AS_SEQUENCE, AS_CONFED_SEQUENCE, AS_CONFED_SET]),
        st.lists(asns, min_size=1, max_size=5).map(tuple),
    ),
    max_size=3,
).map(tuple)


def draw_attributes(version: int) -> st.SearchStrategy[PathAttributes]:
    return st.builds(
        PathAttributes,
        as_path=segments,
        next_hop=draw_address(version),
        origin=st.integers(0, 2),
        med=st.none() | st.integers(0, 2**32 - 1),
        local_pref=st.none() | st.integers(0, 2**32 - 1),
        atomic_aggregate=st.booleans(),
        aggregator=st.none() | st.tuples(asns, draw_address(4)),
        communities=st.lists(st.tuples(halves, halves), max_size=80).map(tuple),
        large_communities=st.lists(st.tuples(asns, asns, asns), max_size=3).map(tuple),
    )


def draw_session(version: int) -> st.SearchStrategy[BgpSession]:
    return st.builds(BgpSession, asns, draw_address(version), asns, draw_address(version))


@st.composite
def draw_update(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, str, BgpSession, PathAttributes | None]], float]:
    """(MRT record, its elements as (A or W, prefix, session, attributes), time)."""
    version = draw(st.sampled_from([4, 6]))
    session, routes = draw(draw_session(version)), draw(draw_attributes(version))
    announced = draw(st.lists(draw_prefix(version), max_size=4, unique=True))
    withdrawn = draw(st.lists(draw_prefix(version), max_size=4, unique=True))
    microseconds = draw(st.integers(0, 999_999))
    extended = draw(st.booleans())
    time = START + microseconds / 1_000_000 if extended else START
    record = encode_message(time, session, encode_update(announced, withdrawn, routes), extended)
    inside = [("W", prefix, session, None) for prefix in withdrawn]
    return record, inside + [("A", prefix, session, routes) for prefix in announced], time


def replay_file(path: Path, kind: str) -> list[Any]:
    stream = import_shim("pybgpstream").BGPStream(data_interface="singlefile")
    stream.set_data_interface_option("singlefile", f"{kind}-file", str(path))
    return list(stream)


def format_path(path: tuple[tuple[int, tuple[int, ...]], ...]) -> str:
    """The text that libbgpstream's bgpstream_as_path_snprintf gives for these segments."""
    marks = {AS_SET: "{,}", AS_SEQUENCE: " ", AS_CONFED_SEQUENCE: "( )", AS_CONFED_SET: "[,]"}
    texts = []
    for kind, members in path:
        mark = marks[kind]
        opening, separator, closing = mark if len(mark) == 3 else ("", mark, "")
        texts.append(opening + separator.join(map(str, members)) + closing)
    return " ".join(texts)


def show_element(element: Element) -> tuple[Any, ...]:
    """What a stream should show of an element that mrtparse read."""
    who = (element.kind, element.time, element.asn, ipaddress.ip_address(element.peer))
    if element.kind == "S":
        return (*who, *(STATES[state] for state in element.states))
    prefix = ipaddress.ip_network(element.prefix)
    if element.kind == "W":
        return (*who, prefix)
    return (*who, prefix, element.path, ipaddress.ip_address(element.next_hop), set(element.communities))


def show_stream_element(element: Any) -> tuple[Any, ...]:
    """The same for an element of the stream."""
    fields = element.fields
    who = (element.type, element.time, element.peer_asn, ipaddress.ip_address(element.peer_address))
    if element.type == "S":
        return (*who, fields["old-state"].upper(), fields["new-state"].upper())
    prefix = ipaddress.ip_network(fields["prefix"])
    if element.type == "W":
        return (*who, prefix)
    return (*who, prefix, fields["as-path"], ipaddress.ip_address(fields["next-hop"]), fields["communities"])


def show_encoded(
    kind: str, time: float, session: BgpSession, prefix: str, routes: PathAttributes | None
) -> tuple[Any, ...]:
    """The same for what went into the encoder."""
    who = (kind, time, session.peer_asn, ipaddress.ip_address(session.peer_address), ipaddress.ip_network(prefix))
    if routes is None:
        return who
    communities = {f"{asn}:{value}" for asn, value in routes.communities}
    return (*who, format_path(routes.as_path), ipaddress.ip_address(routes.next_hop), communities)


@settings(max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(draw_update(), min_size=1, max_size=4))
def test_a_written_update_is_read_alike_by_both(
    tmp_path_factory: pytest.TempPathFactory, messages: list[tuple[bytes, list[Any], float]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "updates.mrt"
    path.write_bytes(b"".join(record for record, _, _ in messages))
    inside = [
        show_encoded(kind, time, session, prefix, routes)
        for _, elements, time in messages
        for kind, prefix, session, routes in elements
    ]
    assert [show_element(element) for element in read_elements(path)] == inside
    assert [show_stream_element(element) for element in replay_file(path, "upd")] == inside


@settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([4, 6]).flatmap(lambda version: st.tuples(st.just(version), draw_attributes(version))))
def test_the_attributes_that_no_stream_shows_are_read_by_mrtparse(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[int, PathAttributes]
) -> None:
    version, routes = drawn
    path = tmp_path_factory.getbasetemp() / "attributes.mrt"
    session = (
        BgpSession(1, "192.0.2.1", 2, "192.0.2.2") if version == 4 else BgpSession(1, "2001:db8::1", 2, "2001:db8::2")
    )
    prefix = "192.0.2.0/24" if version == 4 else "2001:db8::/32"
    path.write_bytes(encode_message(START, session, encode_update([prefix], [], routes)))
    (element,) = read_elements(path)
    assert element.origin == ("IGP", "EGP", "INCOMPLETE")[routes.origin]
    assert (element.med, element.atomic) == (routes.med, routes.atomic_aggregate)
    assert element.aggregator == ("" if routes.aggregator is None else "{} {}".format(*routes.aggregator))
    assert element.large_communities == tuple(":".join(map(str, triple)) for triple in routes.large_communities)
    assert element.communities == tuple(f"{asn}:{value}" for asn, value in routes.communities)


@settings(max_examples=60, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_written_table_is_read_alike_by_both(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    version = data.draw(st.sampled_from([4, 6]))
    peers = data.draw(st.lists(draw_session(4) | draw_session(6), min_size=1, max_size=4))
    records, inside = [encode_peer_index_table(START, "192.0.2.9", peers)], []
    for number, prefix in enumerate(data.draw(st.lists(draw_prefix(version), min_size=1, max_size=3, unique=True))):
        entries = data.draw(
            st.lists(
                st.tuples(st.integers(0, len(peers) - 1), st.integers(1, START - 1), draw_attributes(version)),
                max_size=3,
            )
        )
        records.append(encode_rib(START, number, prefix, entries))
        inside += [show_encoded("R", START, peers[index], prefix, routes) for index, _, routes in entries]
    path = tmp_path_factory.getbasetemp() / "table.mrt"
    path.write_bytes(b"".join(records))
    assert [show_element(element) for element in read_elements(path)] == inside
    assert [show_stream_element(element) for element in replay_file(path, "rib")] == inside


@pytest.mark.parametrize("extended", [False, True])
def test_a_change_of_state_is_read_alike_by_both(tmp_path: Path, extended: bool) -> None:
    session, path = BgpSession(65551, "2001:db8::1", 12654, "2001:db8::2"), tmp_path / "states.mrt"
    changes = [(ESTABLISHED, IDLE), (IDLE, 2), (2, 3), (3, 4), (4, 5), (5, ESTABLISHED)]
    path.write_bytes(b"".join(encode_state_change(START, session, *change, extended) for change in changes))
    inside = [
        ("S", START, 65551, ipaddress.ip_address("2001:db8::1"), STATES[old], STATES[new]) for old, new in changes
    ]
    assert [show_element(element) for element in read_elements(path)] == inside
    assert [show_stream_element(element) for element in replay_file(path, "upd")] == inside


@pytest.mark.parametrize("name", ROUTING)
def test_every_file_of_a_scenario_is_read_alike_by_both(name: str) -> None:
    archive = load_archive(name)
    for path, _, kind, *_ in archive.index:
        if kind == "updates" or name == "mixed":  # the tables are the same in all scenarios
            stream = replay_file(archive.folder / path, "rib" if kind == "ribs" else "upd")
            assert [show_stream_element(element) for element in stream] == [
                show_element(element) for element in archive.files[path]
            ], path


def test_reading_with_mrtparse_leaves_broken_pipes_to_python() -> None:
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN


def test_a_message_above_4096_octets_is_refused() -> None:
    many = [f"10.{number // 256}.{number % 256}.0/24" for number in range(1024)]
    with pytest.raises(ValueError, match=f"at most {MAX_MESSAGE}"):
        encode_update(many, [], PathAttributes(make_as_path(64500), "192.0.2.1"))
    assert len(encode_update(many[:1000], [], PathAttributes(make_as_path(64500), "192.0.2.1"))) <= MAX_MESSAGE


def test_an_announcement_without_attributes_a_prefix_with_host_bits_and_a_mixed_session_are_refused() -> None:
    with pytest.raises(ValueError, match="path attributes"):
        encode_update(["192.0.2.0/24"])
    with pytest.raises(ValueError, match="host bits"):
        encode_update([], ["192.0.2.1/24"])
    with pytest.raises(ValueError, match="two address families"):
        encode_message(START, BgpSession(1, "192.0.2.1", 2, "2001:db8::2"), encode_update([], ["192.0.2.0/24"]))


@pytest.mark.parametrize("size", [0, 1, 0xFFFF, 0x10000, 200_000])
def test_a_gz_file_is_a_plain_one_without_time_and_name(size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    written = _compress_gzip(data)
    assert (written[3], written[4:8]) == (0, b"\0\0\0\0")
    assert gzip.decompress(written) == data
