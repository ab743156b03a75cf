"""TABLE_DUMP tables (RFC 6396 section 4.2), path identifiers (RFC 8050), bits after a prefix (RFC 4271 section 4.3).

The network's own encoders write none of these, so they are encoded here.
"""

import ipaddress
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.internet.bgp import AS_SEQUENCE, AS_SET, MAX_MESSAGE
from tests.support.mrt_elements import read_elements
from tests.support.stream_replay import import_shim

START = 1100000100
TABLE_DUMP, TABLE_DUMP_V2, BGP4MP = 12, 13, 16
ORIGIN, AS_PATH, NEXT_HOP, COMMUNITIES, MP_REACH, MP_UNREACH, AS4_PATH = 1, 2, 3, 8, 14, 15, 17
property_test = settings(max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck))
families = st.sampled_from([4, 6])
Segments = list[tuple[int, tuple[int, ...]]]


def encode_record(kind: int, subtype: int, body: bytes) -> bytes:
    return struct.pack(">IHHI", START, kind, subtype, len(body)) + body


def encode_attribute(code: int, value: bytes) -> bytes:
    return struct.pack(">BBH", 0x50, code, len(value)) + value


def encode_path(segments: Segments, size: str = "H") -> bytes:
    return b"".join(bytes([kind, len(asns)]) + struct.pack(f">{len(asns)}{size}", *asns) for kind, asns in segments)


def encode_table_entry(
    family: int, address: bytes, bits: int, peer: bytes, asn: int, attributes: bytes, originated: int = START - 100
) -> bytes:
    body = struct.pack(">HH", 0, 7) + address + bytes([bits, 1]) + struct.pack(">I", originated) + peer
    return encode_record(
        TABLE_DUMP, 1 if family == 4 else 2, body + struct.pack(">HH", asn, len(attributes)) + attributes
    )


def replay(path: Path, *records: bytes, kind: str = "rib", text: str | None = None) -> list[Any]:
    path.write_bytes(b"".join(records))
    stream = import_shim("pybgpstream").BGPStream(data_interface="singlefile", filter=text)
    stream.set_data_interface_option("singlefile", f"{kind}-file", str(path))
    return list(stream)


def mask(address: bytes, bits: int) -> str:
    """The prefix as the standard library masks it: the reference of all tests here."""
    packed = address.ljust(4 if len(address) <= 4 else 16, b"\0")
    return str(ipaddress.ip_network((ipaddress.ip_address(packed), bits), strict=False))


def mask_text(prefix: str) -> str:
    return str(ipaddress.ip_network(prefix, strict=False))


asns = st.integers(1, 0xFFFF)
paths = st.lists(
    st.tuples(st.sampled_from([AS_SEQUENCE, AS_SET]), st.lists(asns, min_size=1, max_size=4).map(tuple)), max_size=3
)
host_octet = st.integers(1, 255)


@st.composite
def draw_route(draw: st.DrawFn) -> tuple[bytes, str, bytes, int, Segments, bytes]:
    """(record, prefix, peer's address, its AS number, path, next hop)."""
    family = draw(families)
    octets = 4 if family == 4 else 16
    address, bits = draw(st.binary(min_size=octets, max_size=octets)), draw(st.integers(0, octets * 8))
    # mrtparse takes an IPv6 peer whose last 12 octets are zero for an IPv4 one, as this reader does
    peer, hop = (draw(st.binary(min_size=octets - 1, max_size=octets - 1)) + bytes([draw(host_octet)]) for _ in "12")
    asn, path = draw(asns), draw(paths)
    attributes = encode_attribute(ORIGIN, b"\0") + encode_attribute(AS_PATH, encode_path(path))
    if family == 4:
        attributes += encode_attribute(NEXT_HOP, hop)
    else:
        attributes += encode_attribute(MP_REACH, b"\0\2\1\x10" + hop + b"\0")
    return encode_table_entry(family, address, bits, peer, asn, attributes), mask(address, bits), peer, asn, path, hop


def show_path(segments: Segments) -> str:
    return " ".join(
        " ".join(map(str, asns)) if kind == AS_SEQUENCE else "{" + ",".join(map(str, asns)) + "}"
        for kind, asns in segments
    )


@property_test
@given(st.lists(draw_route(), min_size=1, max_size=4))
def test_a_table_dump_is_read_as_it_was_written_and_as_mrtparse_reads_it(
    tmp_path_factory: pytest.TempPathFactory, routes: list[tuple[bytes, str, bytes, int, Segments, bytes]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "table_dump.mrt"
    found = replay(path, *(record for record, *_ in routes))
    assert [(elem.type, elem.time, elem.orig_time) for elem in found] == [("R", START, START - 100)] * len(routes)
    read = ipaddress.ip_address
    shown = [
        (fields["prefix"], read(elem.peer_address), elem.peer_asn, fields["as-path"], read(fields["next-hop"]))
        for elem in found
        for fields in [elem.fields]
    ]
    assert shown == [
        (prefix, read(peer), asn, show_path(segments), read(hop)) for _, prefix, peer, asn, segments, hop in routes
    ]
    assert shown == [
        (mask_text(each.prefix), read(each.peer), each.asn, each.path, read(each.next_hop))
        for each in read_elements(path)
    ]


PATH = encode_attribute(ORIGIN, b"\0") + encode_attribute(AS_PATH, encode_path([(AS_SEQUENCE, (64500, 64501))]))
HOP = encode_attribute(NEXT_HOP, bytes([192, 0, 2, 1]))
PEER = bytes([192, 0, 2, 1])
NET = bytes([198, 51, 100, 0])


def test_old_and_new_speakers_paths_are_merged_in_a_table_dump(tmp_path: Path) -> None:
    old = encode_path([(AS_SEQUENCE, (64500, 23456, 23456))])
    new = encode_path([(AS_SEQUENCE, (65551, 65552))], "I")
    attributes = encode_attribute(AS_PATH, old) + HOP + encode_attribute(AS4_PATH, new)
    (elem,) = replay(tmp_path / "t", encode_table_entry(4, NET, 24, PEER, 64500, attributes))
    assert elem.fields["as-path"] == "64500 65551 65552"


def test_an_ipv4_peer_of_an_ipv6_table_keeps_its_address_and_an_abbreviated_next_hop_is_read(tmp_path: Path) -> None:
    hop = ipaddress.ip_address("2001:db8::9").packed
    record = encode_table_entry(
        6, b"\x20\x01\x0d\xb8".ljust(16, b"\0"), 32, PEER.ljust(16, b"\0"), 64500,
        PATH + encode_attribute(MP_REACH, b"\x10" + hop),
    )  # fmt: skip
    (elem,) = replay(tmp_path / "t", record)
    assert (elem.peer_address, elem.fields["prefix"], elem.fields["next-hop"]) == (
        "192.0.2.1",
        "2001:db8::/32",
        "2001:db8::9",
    )


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("peer 64500", 1),
        ("peer 64501", 0),
        ("prefix exact 198.51.100.0/24", 1),
        ("prefix less 198.51.0.0/16", 0),
        ("origin 64501", 1),
        ("aspath ^64501", 0),
        ("community 64500:1", 1),
        ("ipversion 6", 0),
        ("elemtype announcements", 0),
    ],
)
def test_filters_apply_to_a_table_dump(tmp_path: Path, text: str, count: int) -> None:
    attributes = PATH + HOP + encode_attribute(COMMUNITIES, struct.pack(">HH", 64500, 1))
    assert len(replay(tmp_path / "t", encode_table_entry(4, NET, 24, PEER, 64500, attributes), text=text)) == count


def test_a_damaged_table_dump_is_a_corrupted_record_and_an_unknown_subtype_is_skipped(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good = encode_table_entry(4, NET, 24, PEER, 64500, PATH + HOP)
    long = encode_table_entry(4, NET, 33, PEER, 64500, PATH + HOP)
    short = encode_record(TABLE_DUMP, 1, good[12:-3])
    other = encode_record(TABLE_DUMP, 9, good[12:])
    assert [elem.status for elem in replay(tmp_path / "t", good, long, short, other, good)] == ["valid", "valid"]
    complaints = capfd.readouterr().err
    assert complaints.count("Failed to parse message") == 2
    assert "a prefix of 33 bits" in complaints
    assert "Skipping unknown TABLE_DUMP record subtype 9" in complaints


def encode_update(withdrawn: bytes, attributes: bytes, announced: bytes) -> bytes:
    fields = struct.pack(">H", len(withdrawn)) + withdrawn + struct.pack(">H", len(attributes)) + attributes + announced
    assert len(fields) <= MAX_MESSAGE - 19
    message = b"\xff" * 16 + struct.pack(">HB", 19 + len(fields), 2) + fields
    head = struct.pack(">HHHH", 64500, 64499, 0, 1) + PEER + bytes([192, 0, 2, 2])
    return encode_record(BGP4MP, 1, head + message)


def encode_rib(family: int, encoded: bytes) -> bytes:
    table = struct.pack(">IHH", 1, 0, 1) + b"\2" + bytes(4) + PEER + struct.pack(">I", 64500)
    path = encode_attribute(ORIGIN, b"\0") + encode_attribute(AS_PATH, encode_path([(AS_SEQUENCE, (64500,))], "I"))
    attributes = path + (HOP if family == 4 else encode_attribute(MP_REACH, b"\x10" + bytes(15) + b"\1"))
    body = bytes(4) + encoded + struct.pack(">HHIH", 1, 0, START - 9, len(attributes)) + attributes
    return encode_record(TABLE_DUMP_V2, 1, table) + encode_record(TABLE_DUMP_V2, 2 if family == 4 else 4, body)


def encode_add_path_rib(subtype: int, encoded: bytes, attributes: bytes, identifiers: Sequence[int]) -> bytes:
    """A route for each path identifier, received a second after the one before."""
    entries = b"".join(
        struct.pack(">HIIH", 0, START - 9 + number, identifier, len(attributes)) + attributes
        for number, identifier in enumerate(identifiers)
    )
    return encode_record(TABLE_DUMP_V2, subtype, bytes(4) + encoded + struct.pack(">H", len(identifiers)) + entries)


PEER_TABLE = encode_rib(4, b"\0")[: 12 + 8 + 13]
LONG_PATH = encode_attribute(ORIGIN, b"\0") + encode_attribute(
    AS_PATH, encode_path([(AS_SEQUENCE, (64500, 65551))], "I")
)
ADD_PATH_RECORDS = [
    encode_add_path_rib(8, b"\x18" + NET[:3], LONG_PATH + HOP, [1, 0xFFFFFFFF]),
    encode_add_path_rib(
        10, b"\x20\x20\x01\x0d\xb8", LONG_PATH + encode_attribute(MP_REACH, b"\x10" + bytes(15) + b"\1"), [7]
    ),
]


def test_routes_with_path_identifiers_are_read(tmp_path: Path) -> None:
    found = replay(tmp_path / "t", PEER_TABLE, *ADD_PATH_RECORDS)
    assert [
        (elem.type, elem.orig_time, elem.peer_address, elem.peer_asn, elem.fields["prefix"], elem.fields["next-hop"])
        for elem in found
    ] == [
        ("R", START - 9, "192.0.2.1", 64500, "198.51.100.0/24", "192.0.2.1"),
        ("R", START - 8, "192.0.2.1", 64500, "198.51.100.0/24", "192.0.2.1"),
        ("R", START - 9, "192.0.2.1", 64500, "2001:db8::/32", "::1"),
    ]
    assert {elem.fields["as-path"] for elem in found} == {"64500 65551"}
    cut = replay(tmp_path / "t", PEER_TABLE, ADD_PATH_RECORDS[0][:-1], kind="rib")
    assert not [elem for elem in cut if elem.status == "valid"]


@pytest.mark.skipif(shutil.which("bgpdump") is None, reason="needs bgpdump")
def test_bgpdump_reads_the_same_routes_with_path_identifiers(tmp_path: Path) -> None:
    found = replay(tmp_path / "t", PEER_TABLE, *ADD_PATH_RECORDS)
    done = subprocess.run(["bgpdump", "-m", str(tmp_path / "t")], capture_output=True, text=True, check=True)
    lines = [line.split("|") for line in done.stdout.splitlines()]
    assert [line[6] for line in lines] == ["1", "4294967295", "7"], "the path identifiers"
    assert [
        [elem.peer_address, str(elem.peer_asn), elem.fields["prefix"], elem.fields["as-path"], elem.fields["next-hop"]]
        for elem in found
    ] == [[*line[3:6], line[7], line[9]] for line in lines]


@pytest.mark.parametrize("subtype", [3, 6, 9, 12])
def test_another_subtype_of_table_dump_v2_is_skipped_with_a_complaint(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], subtype: int
) -> None:
    body = ADD_PATH_RECORDS[0][12:]
    assert replay(tmp_path / "t", PEER_TABLE, encode_record(TABLE_DUMP_V2, subtype, body)) == []
    assert f"Skipping unknown TABLE_DUMP_V2 record subtype {subtype}" in capfd.readouterr().err


def encode_mp(code: int, family: int, after: bytes) -> bytes:
    return encode_attribute(code, struct.pack(">HB", 1 if family == 4 else 2, 1) + after)


def encode_reach(family: int, encoded: bytes) -> bytes:
    return encode_update(b"", PATH + encode_mp(MP_REACH, family, b"\4" + PEER + b"\0" + encoded), b"")


def encode_trailing_entry(family: int, encoded: bytes) -> bytes:
    octets = 4 if family == 4 else 16
    address = encoded[1:].ljust(octets, b"\xff")
    return encode_table_entry(family, address, encoded[0], PEER.ljust(octets, b"\0"), 64500, PATH + HOP)


PLACES: dict[str, Callable[[int, bytes], bytes]] = {
    "announced": lambda _, encoded: encode_update(b"", PATH + HOP, encoded),
    "withdrawn": lambda _, encoded: encode_update(encoded, b"", b""),
    "reach": encode_reach,
    "unreach": lambda family, encoded: encode_update(b"", encode_mp(MP_UNREACH, family, encoded), b""),
    "rib": encode_rib,
    "table_dump": encode_trailing_entry,
}


@pytest.mark.parametrize("place", PLACES)
@property_test
@given(st.data())
def test_bits_after_the_end_of_a_prefix_are_zero_for_streams_and_filters(
    tmp_path_factory: pytest.TempPathFactory, place: str, data: st.DataObject
) -> None:
    family = 4 if place in ("announced", "withdrawn") else data.draw(families)
    bits = data.draw(st.integers(0, 32 if family == 4 else 128))
    # Every octet has its low bit set, so that a prefix that ends within an octet always has such bits.
    octets = bytes(octet | 1 for octet in data.draw(st.binary(min_size=(bits + 7) // 8, max_size=(bits + 7) // 8)))
    record = PLACES[place](family, bytes([bits]) + octets)
    right = mask(octets.ljust(4 if family == 4 else 16, b"\0"), bits)
    kind = "rib" if place in ("rib", "table_dump") else "upd"
    path = tmp_path_factory.getbasetemp() / f"trailing-{place}.mrt"
    assert [elem.fields["prefix"] for elem in replay(path, record, kind=kind)] == [right]
    assert len(replay(path, record, kind=kind, text=f"prefix exact {right}")) == 1
    assert len(replay(path, record, kind=kind, text=f"prefix less {right}")) == 1


def test_prefixes_that_differ_only_after_their_end_are_one_prefix(tmp_path: Path) -> None:
    nlri = bytes([13, 11, 13, 13, 11, 8, 20, 198, 51, 115, 20, 198, 51, 112])
    found = [elem.fields["prefix"] for elem in replay(tmp_path / "t", encode_update(b"", PATH + HOP, nlri), kind="upd")]
    assert found == ["11.8.0.0/13", "11.8.0.0/13", "198.51.112.0/20", "198.51.112.0/20"]
