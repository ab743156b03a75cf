"""Seeds 1 to 24 of packet_analysis: what their code must print, from the captures' ground truth and octets."""

import struct
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from tests.data.seed_checks import Ran, check
from tests.support import pcap_reader
from tests.support.pcap_reader import Packet, Tcp

SYN, ACK = 2, 16
Way = tuple[str, int, str, int]


def segments(packets: list[Packet]) -> Iterator[tuple[int, Way, Tcp]]:
    """Time, direction and segment of each TCP packet."""
    for packet in packets:
        if packet.ip and (tcp := packet.ip.tcp):
            yield packet.time, (packet.ip.source, tcp.sport, packet.ip.target, tcp.dport), tcp


def back(way: Way) -> Way:
    return (*way[2:], *way[:2])


def connections(truth: dict[str, Any]) -> list[dict[str, Any]]:
    """All connections that the truth of a capture tells of, those inside tunnels left out."""
    return [
        *truth.get("connections", []),
        *(c for kind in ("web", "loss", "syn_flood", "qos") for c in truth[kind]["connections"]),
    ]


def way_of(connection: dict[str, Any]) -> Way:
    return connection["client"], connection["client_port"], connection["server"], connection["server_port"]


def _words(ran: Ran) -> list[list[str]]:
    return [line.split() for line in ran.lines]


def _first_fragments(packets: list[Packet]) -> Iterator[tuple[int, int, int, bytes]]:
    """Verification tag, TSN, stream and user data of the DATA chunks in which an NGAP message begins."""
    for packet in packets:
        if packet.ip is None or packet.ip.protocol != 132:
            continue
        data, at = packet.ip.data, 12
        while at < len(data):
            kind, flags, length, tsn, stream, _, protocol = struct.unpack(
                "!BBHIHHI", data[at : at + 16].ljust(16, b"\0")
            )
            if kind == 0 and flags & 2 and protocol == 60:
                yield int.from_bytes(data[4:8], "big"), tsn, stream, data[at + 16 : at + length]
            at += -(-length // 4) * 4


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
    syns: dict[Any, list[int]] = defaultdict(list)
    answers: dict[Any, int] = {}
    for time, way, tcp in segments(ran.packets()):
        if tcp.flags & (SYN | ACK) == SYN:
            syns[way, tcp.seq].append(time)
        elif tcp.flags & (SYN | ACK) == SYN | ACK:
            answers.setdefault((back(way), (tcp.ack - 1) % 2**32), time)
    expected = {
        (*map(str, way), f"{(answers[way, seq] - times[0]) / 1000:.3f}", "ms")
        for (way, seq), times in syns.items()
        if len(times) == 1 and (way, seq) in answers
    }
    assert Counter(tuple(words) for words in _words(ran)) == Counter(expected)
    known = {
        (*map(str, way_of(c)), f"{c['handshake_rtt'] * 1000:.3f}", "ms")
        for c in connections(ran.capture())
        if c["handshake_rtt"]
    }
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
    assert [rows.get(line) for line in ran.lines] == sorted(rows.values(), reverse=True)[:10]
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
            key = packet.ip.target, int.from_bytes(data[4:8], "big"), data[14] & 63
            totals[key][2].add(pcap_reader.parse_ip(data[16:]).source)
    expected = {
        f"{target} TEID 0x{teid:08x} QFI {qfi}: {count} G-PDUs, {size} bytes, {sorted(sources)}"
        for (target, teid, qfi), (count, size, sources) in totals.items()
    }
    assert sorted(ran.lines) == sorted(expected)


@check("packet_analysis-014")
def counts_ngap_messages_by_association_and_stream(ran: Ran) -> None:
    names = {4: "DownlinkNASTransport", 14: "InitialContextSetup", 15: "InitialUEMessage", 21: "NGSetup"}
    names |= {29: "PDUSessionResourceSetup", 46: "UplinkNASTransport"}
    truth = ran.capture("n2")
    kinds = {0: "initiating", 32: "successful", 64: "unsuccessful"}
    counted, seen, again = Counter[Any](), set(), 0
    clients = {made[tag]: made["client"] for made in truth["associations"] for tag in ("client_tag", "server_tag")}
    total = Counter[Any]()
    for tag, tsn, stream, data in _first_fragments(ran.packets("n2")):
        row = stream, names.get(data[1], f"procedure {data[1]}"), kinds[data[0]]
        counted[tag, *row] += 1
        again += (tag, tsn) in seen
        total[clients[tag], stream, data[1], kinds[data[0]]] += (tag, tsn) not in seen
        seen.add((tag, tsn))
    assert total == {(m["client"], m["stream"], m["code"], m["kind"]): m["count"] for m in truth["messages"]}
    assert ran.lines == [
        f"tag 0x{tag:08x} stream {stream} {name} {kind} {count}"
        for (tag, stream, name, kind), count in sorted(counted.items())
    ]


@check("packet_analysis-015")
def copies_the_icmp_packets_and_no_others(ran: Ran) -> None:
    own = [(p.time, p.wire, p.frame) for p in ran.packets() if p.ip and p.ip.version == 4 and p.ip.protocol == 1]
    assert [(p.time, p.wire, p.frame) for p in pcap_reader.read_packets(ran.work / "icmp.pcap")] == own
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
    syns = {
        w[3] for _, w, t in segments(ran.packets()) if t.flags == SYN and w[::2] == (scan["scanner"], scan["target"])
    }
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
    rows = [row for row in truth["lookups"] if row["client"] == client and row["name"].endswith(f".{domain}")]
    names, times = {row["name"] for row in rows}, [row["time"] for row in rows]
    mean = sum(map(len, names)) / len(names)
    assert len(names) == len(rows) == truth["tunnel"]["queries"]
    span = f"{max(times) - min(times):.1f} s"
    assert ran.lines == [f"{client} {domain}: {len(names)} names in {span}, mean length {mean:.0f}"]
