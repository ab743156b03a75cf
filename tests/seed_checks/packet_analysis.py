"""Seeds of packet_analysis: what their code must print, from the captures' ground truth and octets."""

import struct
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pcap_reader
from pcap_reader import Ip, Packet, Tcp

from seed_checks import Ran, check

SYN, RST, ACK = 2, 4, 16
Way = tuple[str, int, str, int]


def _segments(packets: list[Packet]) -> Iterator[tuple[int, Way, Tcp]]:
    """Time, direction and segment of each TCP packet over IPv4 (one too broken to hold a header is none)."""
    for packet in packets:
        if packet.ip and packet.ip.version == 4 and (tcp := packet.ip.tcp):
            yield packet.time, (packet.ip.source, tcp.sport, packet.ip.target, tcp.dport), tcp


def _back(way: Way) -> Way:
    return (*way[2:], *way[:2])


def _connections(truth: dict[str, Any]) -> list[dict[str, Any]]:
    """All connections that the truth of a capture tells of, those inside tunnels left out."""
    return [*truth.get("connections", []), *(c for kind in ("web", "loss", "syn_flood", "qos") for c in truth[kind]["connections"])]


def _way(connection: dict[str, Any]) -> Way:
    return connection["client"], connection["client_port"], connection["server"], connection["server_port"]


def _words(ran: Ran) -> list[list[str]]:
    return [line.split() for line in ran.lines]


def _question(message: bytes) -> tuple[int, bool, str, int]:
    """Identifier, whether it is a response, name with its final dot, and type (RFC 1035 section 4.1)."""
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode().lower() + ".")
        at += 1 + message[at]
    return int.from_bytes(message[:2], "big"), message[2] > 127, "".join(labels), int.from_bytes(message[at + 1 : at + 3], "big")


@check("packet_analysis-001")
def counts_every_protocol(ran: Ran) -> None:
    truth = ran.capture()
    names = {"1": "ICMP", "6": "TCP", "17": "UDP", "58": "ICMPv6", "132": "SCTP", "non-IP": "non-IP"}
    rows = sorted(truth["protocols"].items(), key=lambda item: -item[1]["bytes"])
    expected = [
        [names[key], str(row["packets"]), "packets", f"{100 * row['bytes'] / truth['bytes']:.2f}", "%", "of", "bytes"]
        for key, row in rows
    ]
    assert _words(ran) == expected


@check("packet_analysis-002")
def times_every_handshake_with_one_syn(ran: Ran) -> None:
    syns, answers = defaultdict(list), {}
    for time, way, tcp in _segments(ran.packets()):
        if tcp.flags & (SYN | ACK) == SYN:
            syns[way, tcp.seq].append(time)
        elif tcp.flags & (SYN | ACK) == SYN | ACK:
            answers.setdefault((_back(way), (tcp.ack - 1) % 2**32), time)
    expected = {
        (*map(str, way), f"{(answers[way, seq] - times[0]) / 1000:.3f}", "ms")
        for (way, seq), times in syns.items()
        if len(times) == 1 and (way, seq) in answers
    }
    assert Counter(tuple(words) for words in _words(ran)) == Counter(expected)
    known = {(*map(str, _way(c)), f"{c['handshake_rtt'] * 1000:.3f}", "ms") for c in _connections(ran.capture()) if c["handshake_rtt"]}
    assert known
    assert known <= expected


@check("packet_analysis-003")
def counts_the_segments_sent_again(ran: Ran) -> None:
    assert ran.lines == [str(ran.capture()["totals"]["retransmissions"])]


@check("packet_analysis-004")
def reports_the_flooded_server(ran: Ran) -> None:
    truth = ran.capture()
    flood = truth["flood"]
    users = [c for c in truth["connections"] if (c["server"], c["server_port"]) == (flood["target"], flood["port"])]
    syns = flood["syns"] + len(users)
    done = sum(c["ending"] in ("fin", "rst") for c in users)
    assert ran.lines == [f"{flood['target']} {flood['port']} {syns} SYNs {done} completed"]


@check("packet_analysis-006")
def times_every_lookup(ran: Ran) -> None:
    truth = ran.capture()
    expected = Counter(
        f"{lookup['name'].lower()}. {lookup['response_time'] * 1000:.1f} ms {lookup['rcode']}"
        for lookup in truth["lookups"]
        if lookup["rcode"]
    )
    assert Counter(ran.lines[:-1]) == expected
    assert ran.lines[-1] == f"unanswered: {truth['unanswered']}"


@check("packet_analysis-008")
def gives_every_second_its_rate(ran: Ran) -> None:
    packets = ran.packets()
    octets = Counter[int]()
    for packet in packets:
        octets[(packet.time - packets[0].time) // 1_000_000] += packet.wire
    assert ran.lines == [f"{second} {octets[second] * 8 / 1e6:.3f} Mbit/s" for second in range(max(octets) + 1)]


@check("packet_analysis-011")
def lists_the_ten_largest_flows(ran: Ran) -> None:
    flows: dict[Any, list[tuple[int, int]]] = defaultdict(list)
    for packet in ran.packets():
        if packet.ip and (transport := packet.ip.tcp or packet.ip.udp):
            ends = sorted([(packet.ip.source, transport.sport), (packet.ip.target, transport.dport)])
            flows["TCP" if packet.ip.protocol == 6 else "UDP", *ends].append((packet.time, packet.wire))
    rows = {}
    for (name, one, other), sent in flows.items():
        size, duration = sum(wire for _, wire in sent), (sent[-1][0] - sent[0][0]) / 1e6
        rows[f"{name} {one} {other} {len(sent)} {size} {duration:.3f} s"] = size
    assert [rows[line] for line in ran.lines] == sorted(rows.values(), reverse=True)[:10]
    assert len(set(ran.lines)) == 10


@check("packet_analysis-012")
def sums_every_tunnel_and_flow(ran: Ran) -> None:
    totals: dict[Any, list[Any]] = defaultdict(lambda: [0, 0, set()])
    for row in ran.capture("gtpu")["tunnels"]:
        total = totals[row["destination"], row["teid"], row["qfi"]]
        total[0] += row["packets"]
        total[1] += row["bytes"]
    for packet in ran.packets("gtpu"):
        if packet.ip and packet.ip.udp and packet.ip.udp.payload[1] == 255:
            data = packet.ip.udp.payload
            key = packet.ip.target, int.from_bytes(data[4:8], "big"), data[13] & 63
            totals[key][2].add(pcap_reader.parse_ip(data[16:]).source)
    expected = {
        f"{target} TEID 0x{teid:08x} QFI {qfi}: {count} G-PDUs, {size} bytes, {sorted(sources)}"
        for (target, teid, qfi), (count, size, sources) in totals.items()
    }
    assert sorted(ran.lines) == sorted(expected)


def _data_chunks(packets: list[Packet]) -> Iterator[tuple[tuple[str, str], int, int, bytes]]:
    """Addresses, TSN, stream and user data of the first fragments of NGAP messages."""
    for packet in packets:
        if packet.ip is None or packet.ip.protocol != 132:
            continue
        data, at = packet.ip.data, 12
        while at < len(data):
            kind, flags, length, tsn, stream, _, protocol = struct.unpack("!BBHIHHI", data[at : at + 16].ljust(16, b"\0"))
            if kind == 0 and flags & 2 and protocol == 60:
                yield (packet.ip.source, packet.ip.target), tsn, stream, data[at + 16 : at + length]
            at += -(-length // 4) * 4


@check("packet_analysis-014")
def counts_ngap_messages_by_stream(ran: Ran) -> None:
    names = {"DownlinkNASTransport", "InitialContextSetup", "InitialUEMessage", "NGSetup", "PDUSessionResourceSetup"}
    names.add("UplinkNASTransport")
    expected = Counter[tuple[str, str, str]]()
    codes = {}
    for row in ran.capture("n2")["messages"]:
        name = row["procedure"] if row["procedure"] in names else f"procedure {row['code']}"
        codes[row["code"]] = name
        expected[str(row["stream"]), name, row["kind"]] += row["count"]
    seen = set()
    for ends, tsn, stream, data in _data_chunks(ran.packets("n2")):
        if (ends, tsn) in seen:
            expected[str(stream), codes[data[1]], {0: "initiating", 32: "successful", 64: "unsuccessful"}[data[0]]] += 1
        seen.add((ends, tsn))
    assert sorted(ran.lines) == sorted(f"{' '.join(key)} {count}" for key, count in expected.items())


@check("packet_analysis-015")
def copies_the_icmp_packets_and_no_others(ran: Ran) -> None:
    own = [(p.time, p.wire, p.frame) for p in ran.packets() if p.ip and p.ip.version == 4 and p.ip.protocol == 1]
    assert [(p.time, p.wire, p.frame) for p in pcap_reader.read(ran.work / "icmp.pcap")] == own
    assert ran.lines == [f"{ran.capture()['protocols']['1']['packets']} packets copied"]


@check("packet_analysis-017")
def prints_the_destination_port_of_each_tcp_packet(ran: Ran) -> None:
    ports = [str(p.ip.tcp.dport) for p in ran.packets() if p.ip and p.ip.tcp]
    assert len(ports) == ran.capture()["protocols"]["6"]["packets"]
    assert ran.lines == ports


@check("packet_analysis-019")
def counts_the_source_addresses(ran: Ran) -> None:
    assert ran.lines == [str(len({p.ip.source for p in ran.packets() if p.ip and p.ip.version == 4}))]


@check("packet_analysis-022")
def lists_the_names_most_asked_for(ran: Ran) -> None:
    names = Counter[str]()
    for lookup in ran.capture()["lookups"]:
        names[f"{lookup['name'].lower()}."] += lookup["queries"] + (lookup["tcp"] is not None)
    rows = [(int(count), name) for count, name in _words(ran)]
    assert [count for count, _ in rows] == [count for _, count in names.most_common(10)]
    assert all(names[name] == count for count, name in rows)
    assert len(dict(map(reversed, rows))) == 10  # type: ignore[arg-type]


@check("packet_analysis-023")
def finds_the_scan_and_sorts_its_ports(ran: Ran) -> None:
    scan = ran.capture()["scan"]
    syns = {w[3] for _, w, t in _segments(ran.packets()) if t.flags == SYN and w[::2] == (scan["scanner"], scan["target"])}
    closed = sorted(syns - {*scan["open"], *scan["filtered"]})
    assert len(syns) == scan["ports"]
    assert ran.lines == [
        f"{scan['scanner']} probed {scan['ports']} ports of {scan['target']}",
        f"closed: {len(closed)}, first {closed[:8]}",
        f"open: {len(scan['open'])}, first {scan['open'][:8]}",
        f"unanswered: {len(scan['filtered'])}, first {scan['filtered'][:8]}",
    ]


@check("packet_analysis-024")
def finds_the_host_that_tunnels(ran: Ran) -> None:
    truth = ran.capture()
    client, domain = truth["tunnel"]["client"], ".".join(truth["tunnel"]["domain"].split(".")[-2:])
    names = {row["name"] for row in truth["lookups"] if row["client"] == client and row["name"].endswith(f".{domain}")}
    assert len(names) == truth["tunnel"]["queries"]
    assert ran.lines == [f"{client} {domain}: {len(names)} names, mean length {sum(map(len, names)) / len(names):.0f}"]
