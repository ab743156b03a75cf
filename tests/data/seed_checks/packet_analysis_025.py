"""Seeds of packet_analysis from number 25 on: what their code must print, from ground truth and octets."""

import re
import struct
from collections import Counter, defaultdict
from itertools import pairwise
from statistics import median

import pytest

from tests.data.seed_checks import Ran, check
from tests.data.seed_checks.packet_analysis import ACK, SYN, Way, back, segments, way_of
from tests.support.pcap_reader import Packet


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
    for way in map(way_of, stalled):
        told = [
            (time, tcp.window) for time, of, tcp in segments(ran.packets()) if of == back(way) and not tcp.flags & SYN
        ]
        first = next(time for time, window in told if window == 0)
        opened = next(time for time, window in told if time > first and window)
        assert all(window for time, window in told if time > opened), "closed once"
        expected.append(f"{' '.join(map(str, back(way)))} window closed for {(opened - first) / 1e6:.3f} s")
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
    sent: dict[str, dict[int, int]] = defaultdict(dict)
    rtts: dict[str, list[float]] = defaultdict(list)
    for packet in ran.packets():
        ip = packet.ip
        if ip is None or ip.protocol != 1 or ip.fragment & 0x1FFF or ip.data[0] not in (0, 8):
            continue
        number, sequence = struct.unpack("!HH", ip.data[4:8])
        if ip.data[0] == 8:
            sent[f"{ip.source} {ip.target} {number}"][sequence] = packet.time
        elif sequence in sent[ping := f"{ip.target} {ip.source} {number}"]:
            rtts[ping].append((packet.time - sent[ping][sequence]) / 1000)
    expected = {
        ping: f"loss {100 * (1 - len(rtts[ping]) / len(times)):.1f} % {sum(rtts[ping]) / len(rtts[ping]):.2f} ms"
        for ping, times in sent.items()
    }
    assert ran.lines == [f"{ping} {text}" for ping, text in expected.items()]
    for truth in ran.capture()["pings"]:
        if ":" not in truth["source"]:
            ping = f"{truth['source']} {truth['target']} {truth['id']}"
            assert expected[ping].startswith(f"loss {100 * truth['loss']:.1f} % ")


@check("packet_analysis-032")
def puts_every_fragmented_datagram_together(ran: Ran) -> None:
    expected = []
    for row in ran.capture()["fragmented"]:
        pieces = f"id {row['identification']} {row['fragments']} fragments {row['octets']} bytes complete"
        expected.append(f"{row['source']} {row['target']} {pieces}")
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
    gaps = [(after - before) / 1000 for before, after in pairwise(times)]
    said = re.fullmatch(r"mean gap ([\d.]+) ms, median ([\d.]+) ms", ran.lines[-1])
    assert said
    assert float(said[1]) == pytest.approx(times[-1] / 1000 / len(gaps), abs=6e-4)
    assert float(said[2]) == pytest.approx(median(gaps), abs=6e-4)


@check("packet_analysis-038")
def takes_only_samples_of_undisturbed_segments(ran: Ran) -> None:
    said = {}
    for words in map(str.split, ran.lines):
        assert " ".join(words[5:7]) == "samples, minimum"
        assert " ".join(words[8:10]) == "ms, median"
        said[words[0], int(words[1]), words[2], int(words[3])] = (int(words[4]), float(words[7]), float(words[10]))
    packets, expected = ran.packets(), {}
    for connection in ran.capture()["connections"]:
        way = way_of(connection)
        for direction in (way, back(way)):
            if samples := _samples(packets, direction):
                middle = pytest.approx(median(samples), abs=6e-4)
                expected[direction] = (len(samples), pytest.approx(min(samples)), middle)
    assert said == expected
    known = {
        way_of(made): 1000 * made["handshake_rtt"] for made in ran.capture()["connections"] if made["handshake_rtt"]
    }
    assert {way: said[way][2] for way in known} == pytest.approx(known, rel=0.1)


def _samples(packets: list[Packet], way: Way) -> list[float]:
    """Milliseconds from each segment to the first ACK of just its end, where none was sent again or late in between."""
    own = [(time, tcp, of == way) for time, of, tcp in segments(packets) if of in (way, back(way))]
    first = next(tcp.seq for _, tcp, out in own if out)
    sent = [(time, (tcp.seq - first) % 2**32 + len(tcp.payload)) for time, tcp, out in own if out and tcp.payload]
    acks = [(time, (tcp.ack - first) % 2**32) for time, tcp, out in own if not out and tcp.flags & ACK]
    disturbed, high = [], 0
    for time, end in sent:
        if end <= high:
            disturbed.append(time)
        high = max(high, end)
    samples = []
    for time, end in sent:
        told = [at for at, ack in acks if at >= time and ack == end]
        if told and not any(time <= at <= told[0] for at in disturbed):
            samples.append((told[0] - time) / 1000)
    return samples


@check("packet_analysis-040")
def counts_the_packets_cut(ran: Ran) -> None:
    truth = ran.capture()
    assert ran.lines == [f"{truth['truncated']['packets']} of {truth['packets']} packets were cut"]
