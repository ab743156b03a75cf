"""Seeds of packet_analysis: what their code must print, from the captures' ground truth and octets."""

import re
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from statistics import median
from typing import Any

import pcap_reader
from pcap_reader import Ip, Packet, Tcp

from seed_checks import Ran, check

SYN, RST, ACK = 2, 4, 16
Way = tuple[str, int, str, int]


def _segments(packets: list[Packet]) -> Iterator[tuple[int, Way, Tcp]]:
    """Time, direction and segment of each TCP packet."""
    for packet in packets:
        if packet.ip and (tcp := packet.ip.tcp):
            yield packet.time, (packet.ip.source, tcp.sport, packet.ip.target, tcp.dport), tcp


def _back(way: Way) -> Way:
    return (*way[2:], *way[:2])


def _connections(truth: dict[str, Any]) -> list[dict[str, Any]]:
    """All connections that the truth of a capture tells of, those inside tunnels left out."""
    return [
        *truth.get("connections", []),
        *(c for kind in ("web", "loss", "syn_flood", "qos") for c in truth[kind]["connections"]),
    ]


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
    return (
        int.from_bytes(message[:2], "big"),
        message[2] > 127,
        "".join(labels),
        int.from_bytes(message[at + 1 : at + 3], "big"),
    )


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
    known = {
        (*map(str, _way(c)), f"{c['handshake_rtt'] * 1000:.3f}", "ms")
        for c in _connections(ran.capture())
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
    syns = {
        w[3] for _, w, t in _segments(ran.packets()) if t.flags == SYN and w[::2] == (scan["scanner"], scan["target"])
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


@check("packet_analysis-025")
def times_every_pfcp_request(ran: Ran) -> None:
    rows = ran.capture("n2")["pfcp"]
    names = {"association_setup": "association setup", "heartbeat": "heartbeat"}
    times: dict[str, list[float]] = defaultdict(list)
    refused = []
    for row in rows:
        name = names.get(row["message"], f"session {row['message']}")
        times[name].append(row["response_time"] * 1000)
        if row["cause"] not in (None, 1):
            refused.append(f"refused: {name} sequence {row['sequence']} cause {row['cause']}")
    expected = [f"{name}: {len(ms)}, median {median(ms):.2f} ms, max {max(ms):.2f} ms" for name, ms in times.items()]
    assert refused
    assert sorted(ran.lines) == sorted([*refused, *expected, "unanswered: 0"])


@check("packet_analysis-026")
def counts_each_ngap_message_once(ran: Ran) -> None:
    truth = ran.capture("n2")
    counts = Counter[int]()
    for row in truth["messages"]:
        counts[row["code"]] += row["count"]
    again = sorted(
        (made["time"], made["tsn"]) for client in truth["associations"] for made in client["retransmissions"]
    )
    assert again
    assert ran.lines[:-1] == [f"procedure {code} {count}" for code, count in sorted(counts.items())]
    assert ran.lines[-1] == f"sent again, TSNs: {[tsn for _, tsn in again]}"


@check("packet_analysis-028")
def tells_how_long_each_window_was_closed(ran: Ran) -> None:
    stalled = [c for c in ran.capture()["loss"]["connections"] if c["zero_windows"]]
    expected = []
    for way in map(_way, stalled):
        told = [
            (time, tcp.window) for time, of, tcp in _segments(ran.packets()) if of == _back(way) and not tcp.flags & SYN
        ]
        first = next(time for time, window in told if window == 0)
        opened = next(time for time, window in told if time > first and window)
        assert all(window for time, window in told if time > opened), "closed once"
        expected.append(f"{' '.join(map(str, _back(way)))} window closed for {(opened - first) / 1e6:.3f} s")
    assert expected
    assert sorted(ran.lines) == sorted(expected)


@check("packet_analysis-029")
def finds_the_address_with_two_macs(ran: Ran) -> None:
    conflict = ran.capture()["arp"]["conflict"]
    first: dict[str, int] = {}
    for packet in ran.packets():
        if packet.ethertype == 0x0806 and ".".join(map(str, packet.frame[28:32])) == conflict["address"]:
            first.setdefault(packet.frame[22:28].hex(":"), packet.time)
    assert sorted(first) == conflict["macs"]
    assert first[conflict["attacker"]] == round(conflict["time"] * 1e6)
    assert ran.lines == [f"{conflict['address']} {mac} since {time / 1e6:.6f}" for mac, time in first.items()]


@check("packet_analysis-030")
def gives_every_ping_its_loss_and_mean(ran: Ran) -> None:
    expected = []
    for ping in ran.capture()["pings"]:
        rtts = [rtt * 1000 for rtt in ping["rtts"] if rtt is not None]
        mean = f"{sum(rtts) / len(rtts):.2f} ms" if rtts else "no reply"
        expected.append(f"{ping['source']} {ping['target']} {ping['id']} loss {100 * ping['loss']:.1f} % {mean}")
    assert sorted(ran.lines) == sorted(line for line in expected if ":" not in line.split()[0])


@check("packet_analysis-032")
def puts_every_fragmented_datagram_together(ran: Ran) -> None:
    expected = [
        f"{row['source']} {row['target']} id {row['identification']} {row['fragments']} fragments {row['octets']} bytes complete"
        for row in ran.capture()["fragmented"]
    ]
    assert expected
    assert sorted(ran.lines) == sorted(expected)


@check("packet_analysis-033")
def gives_every_stream_its_jitter(ran: Ran) -> None:
    expected = [f"SSRC 0x{row['ssrc']:08x}: {1000 * row['jitter_seconds']:.3f} ms" for row in ran.capture()["rtp"]]
    assert sorted(ran.lines) == sorted(expected)


@check("packet_analysis-034")
def finds_the_addresses_that_send_most(ran: Ran) -> None:
    sent = Counter[str]()
    for row in ran.capture("gtpu")["tunnels"]:
        sent[row["ue"]] += row["packets"] if row["direction"] == "uplink" else 0
    (line,) = ran.lines
    rows = re.findall(r"\('([\da-f.:]+)', (\d+)\)", line)
    assert [int(count) for _, count in rows] == [count for _, count in sent.most_common(5)]
    assert all(sent[address] == int(count) for address, count in rows)
    assert len(dict(rows)) == 5


@check("packet_analysis-036")
def gives_every_pair_its_share_of_marks(ran: Ran) -> None:
    capable, marked = Counter[str](), Counter[str]()
    for packet in ran.packets():
        if packet.ip and packet.ip.tos & 3:
            pair = f"{packet.ip.source} {packet.ip.target}"
            capable[pair] += 1
            marked[pair] += packet.ip.tos & 3 == 3
    truth = ran.capture()["ecn"]
    assert (sum(capable.values()), sum(marked.values())) == (truth["1"] + truth["2"] + truth["3"], truth["3"])
    expected = [f"{pair} {marked[pair]}/{n} = {100 * marked[pair] / n:.1f} %" for pair, n in capable.items()]
    assert sorted(ran.lines) == sorted(expected)


@check("packet_analysis-037")
def shows_higher_peaks_in_shorter_bins(ran: Ran) -> None:
    packets = ran.packets()
    times = [packet.time - packets[0].time for packet in packets]
    for line, width in zip(ran.lines[:-1], (1_000_000, 100_000, 10_000, 1_000), strict=True):
        octets = Counter[int]()
        for time, packet in zip(times, packets, strict=True):
            octets[time // width] += packet.wire
        assert line == f"{width // 1000} ms bins: peak {8 * max(octets.values()) / width:8.2f} Mbit/s"
    middle = sorted(after - before for before, after in pairwise(times))
    half = (middle[(len(middle) - 1) // 2] + middle[len(middle) // 2]) / 2
    assert ran.lines[-1] == f"mean gap {times[-1] / len(middle) / 1000:.3f} ms, median {half / 1000:.3f} ms"


@check("packet_analysis-038")
def takes_only_samples_of_undisturbed_segments(ran: Ran) -> None:
    expected = {}
    for connection in ran.capture()["connections"]:
        for way in (_way(connection), _back(_way(connection))):
            if samples := _samples(ran.packets(), way):
                expected[way] = f"{len(samples)} samples, {min(samples):.2f} to {max(samples):.2f} ms"
        if connection["kind"] != "download":
            low, high = (float(ms) for ms in re.findall(r"\d+\.\d+", expected[_way(connection)]))
            assert 0 < low <= high < 1.1 * 1000 * (connection["handshake_rtt"] or high)
    assert sorted(ran.lines) == sorted(f"{' '.join(map(str, way))} {text}" for way, text in expected.items())


def _samples(packets: list[Packet], way: Way) -> list[float]:
    """Milliseconds from each segment to the first ACK of just its end, where none was sent again or late in between."""
    own = [(time, tcp, of == way) for time, of, tcp in _segments(packets) if of in (way, _back(way))]
    data = [(time, (tcp.seq + len(tcp.payload)) % 2**32) for time, tcp, out in own if out and tcp.payload]
    base = data[0][1] if data else 0
    ends = [(time, (end - base + 2**31) % 2**32) for time, end in data]
    disturbed = [time for number, (time, end) in enumerate(ends) if any(end <= before for _, before in ends[:number])]
    samples = []
    for number, (time, end) in enumerate(ends):
        if time in disturbed:
            continue
        acks = [
            at
            for at, tcp, out in own
            if not out and tcp.flags & ACK and at >= time and (tcp.ack - base + 2**31) % 2**32 == end
        ]
        if acks and not any(time < at <= acks[0] for at in disturbed):
            samples.append((acks[0] - time) / 1000)
    return samples


@check("packet_analysis-040")
def counts_the_packets_cut(ran: Ran) -> None:
    truth = ran.capture()
    assert ran.lines == [f"{truth['truncated']['packets']} of {truth['packets']} packets were cut"]
