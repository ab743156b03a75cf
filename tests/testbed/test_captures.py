"""Packet captures: the same bytes everywhere, which hold exactly what the ground truth says.

The tests find the facts of the ground truth in the bytes again, with analyses that share no code with the writer.
"""

import hashlib
import itertools
import json
import random
import re
import shutil
import struct
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from netllama.core.errors import StageError
from testbed.captures import frames, gtpu
from testbed.captures.capture_files import CAPTURES, write_capture
from tests.support.pcap_reader import Ip, Packet, Tcp, parse_ip, read_packets

SEED = 7
START = 1_709_625_600
SYN, FIN, RST, ACK = 2, 1, 4, 16
Facts = dict[str, Any]
Capture = tuple[list[Packet], Facts]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("captures")
    for name in CAPTURES:
        write_capture(name, SEED, made)
    return made


@cache
def load_capture(path: Path) -> Capture:
    return list(read_packets(path)), json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


def load_part(folder: Path, kind: str, where: str) -> Capture:
    """The packets of a capture, and the facts of `kind`: all facts of its own capture, or its part of `mixed`."""
    packets, facts = load_capture(folder / f"{where}.pcap")
    return packets, facts[kind] if where == "mixed" else facts


def parametrize_where(kind: str) -> Any:
    return pytest.mark.parametrize("where", [kind, "mixed"])


def hash_files(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def to_micros(unix: float) -> int:
    return round(unix * 1_000_000)


def to_seconds(microseconds: int) -> float:
    return round(microseconds / 1_000_000, 6)


# Bytes


def test_a_capture_written_twice_is_the_same_and_another_seed_is_another(folder: Path, tmp_path: Path) -> None:
    for name in ("dns", "loss"):
        write_capture(name, SEED, tmp_path / "again")
        write_capture(name, SEED + 1, tmp_path / "other")
        again, other, first = hash_files(tmp_path / "again"), hash_files(tmp_path / "other"), hash_files(folder)
        assert again[f"{name}.pcap"] == first[f"{name}.pcap"] != other[f"{name}.pcap"]
        assert again[f"{name}.json"] == first[f"{name}.json"] != other[f"{name}.json"]


def test_an_unknown_capture_is_one_line_that_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="unknown capture 'wifi'; choose one of web, loss, dns"):
        write_capture("wifi", 0, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", CAPTURES)
def test_packets_are_in_order_and_the_truth_counts_them(folder: Path, name: str) -> None:
    packets, facts = load_capture(folder / f"{name}.pcap")
    assert (facts["capture"], facts["seed"]) == (name, SEED)
    assert 300 <= len(packets) == facts["packets"] <= 2_500
    times = [packet.time for packet in packets]
    assert times == sorted(times)
    assert START * 1_000_000 <= times[0] < times[-1] < (START + 120) * 1_000_000
    assert (to_micros(facts["first"]), to_micros(facts["last"])) == (times[0], times[-1])
    assert facts["bytes"] == sum(packet.wire for packet in packets)
    assert len({time % 1_000 for time in times}) > 100, "microseconds are used"
    protocols: dict[str, dict[str, int]] = defaultdict(lambda: {"packets": 0, "bytes": 0})
    for packet in packets:
        total = protocols["non-IP" if packet.ip is None else str(packet.ip.protocol)]
        total["packets"] += 1
        total["bytes"] += packet.wire
    assert facts["protocols"] == protocols


def compute_word_sum(data: bytes) -> int:
    """One's complement sum, word by word (RFC 1071); 0xFFFF if the checksum in the data is right."""
    total = 0
    for (word,) in struct.iter_unpack("!H", data + bytes(len(data) % 2)):
        total += word
        total = (total & 0xFFFF) + (total >> 16)
    return total


def compute_crc32c(data: bytes) -> int:
    """Castagnoli's CRC, computed bit by bit."""
    value = 0xFFFFFFFF
    for octet in data:
        value ^= octet
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def assert_checksums(ip: Ip) -> None:
    if ip.version == 4:
        assert compute_word_sum(ip.whole[: (ip.whole[0] & 15) * 4]) == 0xFFFF
        pseudo = ip.whole[12:20]
    else:
        pseudo = ip.whole[8:40]
    if ip.fragment & 0x3FFF:
        return
    if ip.protocol in (6, 17, 58):
        assert compute_word_sum(pseudo + struct.pack("!II", ip.protocol, len(ip.data)) + ip.data) == 0xFFFF
    elif ip.protocol == 1:
        assert compute_word_sum(ip.data) == 0xFFFF
    elif ip.protocol == 132:
        assert int.from_bytes(ip.data[8:12], "little") == compute_crc32c(ip.data[:8] + bytes(4) + ip.data[12:])
    if ip.protocol == 17:
        assert int.from_bytes(ip.data[4:6], "big") == len(ip.data)


@pytest.mark.parametrize("name", CAPTURES)
def test_lengths_and_checksums_are_right_where_the_truth_does_not_say_otherwise(folder: Path, name: str) -> None:
    packets, facts = load_capture(folder / f"{name}.pcap")
    broken = {to_micros(fault["time"]) for fault in facts.get("malformed", [])}
    checked = 0
    for packet in packets:
        assert len(packet.frame) >= 60
        if packet.ip is None or packet.time in broken or len(packet.frame) < packet.wire:
            continue
        assert_checksums(packet.ip)
        checked += 1
        udp = packet.ip.udp
        if udp and udp.dport == 2152 and udp.payload[1] == 255:
            assert_checksums(parse_ip(udp.payload[16:]))
    assert checked > 0.9 * len(packets)


@pytest.mark.parametrize("name", CAPTURES)
def test_scapy_reads_every_packet_and_would_have_written_the_same(folder: Path, name: str) -> None:
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether
    from scapy.utils import PcapReader

    packets, facts = load_capture(folder / f"{name}.pcap")
    broken = {to_micros(fault["time"]) for fault in facts.get("malformed", [])}
    with PcapReader(str(folder / f"{name}.pcap")) as reader:
        for index, (packet, expected) in enumerate(zip(reader, packets, strict=True)):
            assert to_micros(float(packet.time)) == expected.time
            assert packet.wirelen == expected.wire
            assert bytes(packet) == expected.frame
            whole = expected.time not in broken and len(expected.frame) == expected.wire
            if not whole or index % 9 or not isinstance(packet, Ether):
                continue
            for layer in (IP, IPv6, TCP, UDP, ICMP):  # computed fields left out, Scapy fills them in
                for number in itertools.count(1):
                    found = packet.getlayer(layer, number)
                    if found is None or found.underlayer.name == "ICMP":  # a quoted packet is cut, its lengths stay
                        break
                    for field in ("len", "chksum", "plen"):
                        if field in found.fields:
                            del found.fields[field]
            assert bytes(packet) == expected.frame


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="no tcpdump")
@pytest.mark.parametrize("name", [name for name in CAPTURES if name != "mixed"])
def test_tcpdump_reads_every_packet_and_finds_no_wrong_checksum(folder: Path, name: str) -> None:
    command = ["tcpdump", "-nn", "-vvv", "-tt", "-r", str(folder / f"{name}.pcap")]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        pytest.skip(done.stderr.strip())
    lines = re.findall(r"^1709\d{6}\.\d{6} ", done.stdout, re.MULTILINE)
    assert len(lines) == len(load_capture(folder / f"{name}.pcap")[0])
    assert not re.findall(r"incorrect|bad udp cksum|bad cksum|wrong icmp cksum|packet exceeded", done.stdout)


def test_headers_are_those_that_scapy_builds() -> None:
    from scapy.layers.inet import ICMP, IP, TCP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Dot1Q, Ether
    from scapy.packet import Raw

    draw = random.Random(1)
    macs = "02:00:00:00:00:01", "02:00:00:00:00:02"
    for size in (0, 1, 2, 47, 1_460):
        for source, target in (("192.0.2.1", "198.51.100.7"), ("2001:db8::1", "2001:db8::2")):
            load, ports, tos = (
                draw.randbytes(size),
                (draw.randrange(65_536), draw.randrange(65_536)),
                draw.randrange(256),
            )
            seq, ack, flags = draw.getrandbits(32), draw.getrandbits(32), draw.randrange(64)
            number, ttl = draw.getrandbits(16), draw.randrange(256)
            transport = frames.encode_tcp(source, target, ports, seq, ack, flags, 512, load, b"\2\4\5\xb4")
            theirs: Any = TCP(sport=ports[0], dport=ports[1], seq=seq, ack=ack, flags=flags, window=512)
            theirs.options = [("MSS", 1460)]
            network: Any = (
                IP(src=source, dst=target, id=number, ttl=ttl, tos=tos, flags="DF") if "." in source else None
            )
            network = network or IPv6(src=source, dst=target, hlim=ttl, tc=tos)
            packet = frames.encode_ip(source, target, frames.TCP, transport, identification=number, ttl=ttl, tos=tos)
            assert packet == bytes(network / theirs / Raw(load))
            datagram = frames.encode_udp(source, target, ports, load)
            packet = frames.encode_ip(source, target, frames.UDP, datagram, identification=number, ttl=ttl, tos=tos)
            assert packet == bytes(network / UDP(sport=ports[0], dport=ports[1]) / Raw(load))
            kind = frames.IPV4 if "." in source else frames.IPV6
            tagged = bytes(Ether(src=macs[0], dst=macs[1]) / Dot1Q(vlan=300, prio=5) / network / Raw(load))
            packet = frames.encode_ip(source, target, network.copy().proto if kind == frames.IPV4 else network.nh, load)
            made = frames.encode_ethernet(*macs, tagged[18:], kind, (300, 5))
            assert made == tagged.ljust(60, b"\0")
    assert frames.encode_icmp(8, 0, b"\0\1\0\2", b"ping") == bytes(ICMP(type=8, id=1, seq=2) / Raw(b"ping"))


# TCP


def group_conversations(packets: Iterable[tuple[int, Ip]]) -> dict[Any, list[tuple[int, bool, Tcp]]]:
    """(client, port, server, port) -> segments: (time, whether the client sent it, segment)."""
    made: dict[Any, list[tuple[int, bool, Tcp]]] = {}
    for time, ip in packets:
        if (tcp := ip.tcp) is None:
            continue
        key = ip.source, tcp.sport, ip.target, tcp.dport
        back = key[2:] + key[:2]
        outbound = back not in made
        made.setdefault(key if outbound else back, []).append((time, outbound, tcp))
    return made


def analyse_segments(segments: list[tuple[int, bool, Tcp]]) -> Facts:
    """What a connection's segments show, from sequence numbers and times alone."""
    first = segments[0][2].seq
    syns = [time for time, outbound, tcp in segments if outbound and tcp.flags & (SYN | ACK) == SYN]
    answers = [time for time, outbound, tcp in segments if not outbound and tcp.flags & (SYN | ACK) == SYN | ACK]
    seen: dict[bool, set[int]] = {True: set(), False: set()}
    highest, windows, greatest = {True: 0, False: 0}, {True: -1, False: -1}, {True: -1, False: -1}
    first_seen: dict[tuple[bool, int], int] = {}
    resent, late, holes, duplicates, zero, samples = [], [], [], 0, 0, []
    waiting: dict[int, tuple[int, int]] = {}
    copies = Counter((tcp.seq, outbound) for _, outbound, tcp in segments if tcp.payload)
    base = {True: first, False: next((tcp.seq for _, outbound, tcp in segments if not outbound), 0)}
    rtt = answers[0] - syns[-1] if answers else 0
    for time, outbound, tcp in segments:
        offset = (tcp.seq - base[outbound]) % 2**32
        if tcp.window == 0 and not tcp.flags & RST:
            zero += 1
        if tcp.payload:
            octets = set(range(offset, offset + len(tcp.payload)))
            if octets & seen[outbound]:
                resent.append((time, tcp.seq))
            elif offset < highest[outbound]:
                # A hole that stayed open for a round trip was a loss, a shorter one reordering
                gap = min(when for (side, above), when in first_seen.items() if side == outbound and above > offset)
                (late if time - gap < rtt / 2 else holes).append((time, tcp.seq))
            first_seen.setdefault((outbound, offset), time)
            highest[outbound] = max(highest[outbound], offset + len(octets))
            seen[outbound] |= octets
            if outbound and copies[tcp.seq, True] == 1:
                waiting[offset + len(octets)] = (time, offset)
        if tcp.flags & ACK:
            ack = (tcp.ack - base[not outbound]) % 2**32
            pure = not tcp.payload and not tcp.flags & (SYN | FIN | RST)
            outstanding = highest[not outbound] > ack
            if pure and outstanding and ack == greatest[outbound] and tcp.window == windows[outbound]:
                duplicates += 1
            greatest[outbound] = max(greatest[outbound], ack)
            if not outbound:
                samples += [time - waiting.pop(end)[0] for end in sorted(waiting) if end <= ack]
        windows[outbound] = tcp.window
    return {
        "start": segments[0][0],
        "end": segments[-1][0],
        "packets": len(segments),
        "handshake_rtt": answers[0] - syns[0] if answers and len(syns) == 1 else None,
        "syn_retransmissions": len(syns) - 1,
        "retransmissions": resent,
        "lost_before_tap": holes,
        "out_of_order": late,
        "duplicate_acks": duplicates,
        "zero_windows": zero,
        "rtt_samples": samples,
        "bytes_to_server": len(seen[True]),
        "bytes_to_client": len(seen[False]),
    }


def assert_connections(packets: Iterable[tuple[int, Ip]], connections: list[Facts]) -> None:
    made = group_conversations(packets)
    assert connections
    for truth in connections:
        segments = made[truth["client"], truth["client_port"], truth["server"], truth["server_port"]]
        found = analyse_segments(segments)
        for event in ("retransmissions", "lost_before_tap", "out_of_order"):
            assert found[event] == [(to_micros(made["time"]), made["seq"]) for made in truth[event]], event
        rtt = truth["handshake_rtt"]
        assert found["handshake_rtt"] == (None if rtt is None else to_micros(rtt))
        assert found["rtt_samples"] == [to_micros(sample) for sample in truth["rtt_samples"]]
        assert (found["start"], found["end"]) == (to_micros(truth["start"]), to_micros(truth["end"]))
        for number in ("packets", "syn_retransmissions", "duplicate_acks", "zero_windows"):
            assert found[number] == truth[number], number
        octets = found["bytes_to_server"], found["bytes_to_client"]
        assert octets == (truth["bytes_to_server"], truth["bytes_to_client"])
        duration = found["end"] - found["start"]
        assert to_micros(truth["duration"]) == duration
        assert truth["throughput"] == (round(sum(octets) * 8e6 / duration) if duration else 0)
        assert_ending(segments, truth["ending"])


def assert_ending(segments: list[tuple[int, bool, Tcp]], ending: str) -> None:
    flags = Counter[tuple[bool, int]]()
    for _, outbound, tcp in segments:
        flags.update((outbound, bit) for bit in (SYN, FIN, RST) if tcp.flags & bit)
    assert flags[True, FIN] == flags[False, FIN] == (ending == "fin")
    assert flags[True, RST] == (ending == "rst")
    assert flags[False, RST] == (ending == "refused")
    assert flags[False, SYN] == (ending not in ("refused", "unanswered"))


def list_ip_packets(packets: Iterable[Packet], without: Facts | None = None) -> list[tuple[int, Ip]]:
    """(time, IP packet), without the packets that `mixed` plants as malformed."""
    broken = {to_micros(fault["time"]) for fault in (without or {}).get("malformed", [])}
    return [(packet.time, packet.ip) for packet in packets if packet.ip and packet.time not in broken]


@pytest.mark.parametrize(("kind", "where"), [(k, w) for k in ("web", "loss", "syn_flood", "qos") for w in (k, "mixed")])
def test_connections_are_what_sequence_numbers_and_times_show(folder: Path, kind: str, where: str) -> None:
    packets, facts = load_part(folder, kind, where)
    assert_connections(list_ip_packets(packets, load_capture(folder / f"{where}.pcap")[1]), facts["connections"])


@pytest.mark.parametrize("seed", range(100, 106))
def test_losses_of_any_seed_are_found_again(tmp_path: Path, seed: int) -> None:
    write_capture("loss", seed, tmp_path)
    packets, facts = load_capture(tmp_path / "loss.pcap")
    assert_connections(list_ip_packets(packets), facts["connections"])
    causes = Counter(event["cause"] for made in facts["connections"] for event in made["retransmissions"])
    assert causes["fast"] >= 6
    assert causes["timeout"] >= 3
    totals = facts["totals"]
    assert min(totals.values()) > 0
    for kind in ("clean", "lost_syn", "stall"):
        for made in facts["connections"]:
            if made["kind"] == kind:
                assert not made["retransmissions"] + made["lost_before_tap"] + made["out_of_order"]
                assert (made["syn_retransmissions"] > 0) == (kind == "lost_syn")
                assert (made["zero_windows"] > 0) == (kind == "stall")


def test_a_fast_retransmission_follows_three_duplicate_acks_and_a_timeout_a_pause(folder: Path) -> None:
    packets, facts = load_capture(folder / "loss.pcap")
    made = group_conversations(list_ip_packets(packets))
    for truth in facts["connections"]:
        segments = made[truth["client"], truth["client_port"], truth["server"], truth["server_port"]]
        for event in truth["retransmissions"]:
            at, seq = to_micros(event["time"]), event["seq"]
            before = [tcp for time, outbound, tcp in segments if time < at and not outbound]
            original = next(time for time, outbound, tcp in segments if outbound and tcp.seq == seq and tcp.payload)
            repeated = list(itertools.takewhile(lambda tcp, seq=seq: tcp.ack == seq, reversed(before)))
            if event["cause"] == "fast":
                assert len(repeated) >= 4 or at - original < 400_000  # a NewReno sender fills the next hole at once
            else:
                assert at - original >= 200_000


def test_web_names_are_in_the_client_hellos_and_requests(folder: Path) -> None:
    packets, facts = load_capture(folder / "web.pcap")
    made = group_conversations(list_ip_packets(packets))
    applications = Counter(truth.get("application") for truth in facts["connections"])
    assert min(applications["tls"], applications["http"]) >= 10
    for truth in facts["connections"]:
        if "application" not in truth:
            continue
        segments = made[truth["client"], truth["client_port"], truth["server"], truth["server_port"]]
        sent = b"".join(tcp.payload for _, outbound, tcp in segments if outbound)
        received = b"".join(tcp.payload for _, outbound, tcp in segments if not outbound)
        if truth["application"] == "tls":
            assert read_server_name(sent) == truth["host"]
            assert list_record_types(sent)[:3] == [22, 20, 23]
            assert list_record_types(received)[:3] == [22, 20, 23]
        else:
            asked = re.findall(rb"(\S+) (\S+) HTTP/1.1\r\nHost: (\S+)\r\n", sent)
            status = re.findall(rb"HTTP/1.1 (\d+) ", received)
            requests = [(made["method"], made["path"], truth["host"]) for made in truth["requests"]]
            assert [tuple(part.decode() for part in found) for found in asked] == requests
            assert [int(code) for code in status] == [made["status"] for made in truth["requests"]]


def read_server_name(data: bytes) -> str:
    """The name in a ClientHello's server_name extension."""
    at = 5 + 4 + 2 + 32
    at += 1 + data[at]
    at += 2 + int.from_bytes(data[at : at + 2], "big")
    at += 1 + data[at] + 2
    while True:
        kind, length = struct.unpack("!HH", data[at : at + 4])
        if kind == 0:
            return data[at + 9 : at + 4 + length].decode()
        at += 4 + length


def list_record_types(data: bytes) -> list[int]:
    types, at = [], 0
    while at < len(data):
        types.append(data[at])
        at += 5 + int.from_bytes(data[at + 3 : at + 5], "big")
    assert at == len(data)
    return types


# DNS


def read_dns_message(data: bytes) -> Facts:
    """Header, question and whether there is an OPT record, as RFC 1035 section 4.1 specifies."""
    number, flags, questions, answered, authority, additional = struct.unpack("!6H", data[:12])
    labels, at = [], 12
    while data[at]:
        labels.append(data[at + 1 : at + 1 + data[at]].decode())
        at += 1 + data[at]
    return {
        "id": number,
        "response": flags >> 15,
        "truncated": bool(flags & 0x200),
        "rcode": flags & 15,
        "name": ".".join(labels),
        "type": struct.unpack("!H", data[at + 1 : at + 3])[0],
        "counts": (questions, answered, authority),
        "edns": bool(additional),
    }


@parametrize_where("dns")
def test_lookups_match_queries_and_answers_by_addresses_ports_id_and_question(folder: Path, where: str) -> None:
    packets, facts = load_part(folder, "dns", where)
    asked: dict[Any, list[int]] = defaultdict(list)
    answered: dict[Any, tuple[int, Facts]] = {}
    edns = {}
    for time, ip in list_ip_packets(packets):
        udp = ip.udp
        if udp is None or 53 not in (udp.sport, udp.dport):
            continue
        message = read_dns_message(udp.payload)
        question = message["id"], message["name"], message["type"]
        if message["response"]:
            answered[ip.target, udp.dport, ip.source, *question] = (time, message)
        else:
            asked[ip.source, udp.sport, ip.target, *question].append(time)
            edns[ip.source, udp.sport] = message["edns"]
    types = {"A": 1, "AAAA": 28, "TXT": 16}
    rcodes = {"NOERROR": 0, "SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}
    assert len(asked) == len(facts["lookups"])
    for truth in facts["lookups"]:
        ends = truth["client"], truth["client_port"], truth["resolver"]
        key = *ends, truth["id"], truth["name"], types[truth["type"]]
        times = asked[key]
        assert (times[0], len(times)) == (to_micros(truth["time"]), truth["queries"])
        assert edns[truth["client"], truth["client_port"]] == truth["edns"]
        if truth["rcode"] is None:
            assert key not in answered
            continue
        time, message = answered[key]
        assert time - times[0] == to_micros(truth["response_time"])
        assert message["rcode"] == rcodes[truth["rcode"]]
        assert message["truncated"] == truth["truncated"] == (truth["tcp"] is not None)
        assert (message["counts"][1] > 0) == (truth["rcode"] == "NOERROR" and not truth["truncated"])
    assert facts["unanswered"] == len(asked) - len(answered) > 0
    assert facts["tunnel"]["queries"] == sum(key[0] == facts["tunnel"]["client"] for key in asked)
    longest = sorted(asked, key=lambda key: len(key[4]))[-facts["tunnel"]["queries"] :]
    assert {key[0] for key in longest} == {facts["tunnel"]["client"]}
    slow = [truth["response_time"] for truth in facts["lookups"] if truth["kind"] == "slow"]
    assert min(slow) > 0.3


@parametrize_where("dns")
def test_a_truncated_answer_is_asked_for_again_over_tcp_and_comes_whole(folder: Path, where: str) -> None:
    packets, facts = load_part(folder, "dns", where)
    fallbacks = [truth for truth in facts["lookups"] if truth["tcp"]]
    assert_connections(
        list_ip_packets(packets, load_capture(folder / f"{where}.pcap")[1]), [made["tcp"] for made in fallbacks]
    )
    made = group_conversations(list_ip_packets(packets, load_capture(folder / f"{where}.pcap")[1]))
    for truth in fallbacks:
        assert truth["tcp"]["server_port"] == 53
        ends = truth["tcp"]["client"], truth["tcp"]["client_port"], truth["tcp"]["server"], 53
        data = b"".join(tcp.payload for _, outbound, tcp in made[ends] if not outbound)
        message = read_dns_message(data[2:])
        assert int.from_bytes(data[:2], "big") == len(data) - 2 > 512
        assert (message["id"], message["name"], message["truncated"]) == (truth["id"], truth["name"], False)
        assert message["counts"][1] > 1


# SYN flood and scan


@parametrize_where("syn_flood")
def test_the_flood_is_the_unfinished_handshakes_of_one_target(folder: Path, where: str) -> None:
    packets, facts = load_part(folder, "syn_flood", where)
    truth, scan = facts["flood"], facts["scan"]
    users = {made["client"] for made in facts["connections"]}
    syns: dict[Any, list[int]] = defaultdict(list)
    answers: dict[Any, list[int]] = defaultdict(list)
    completed = set()
    for time, ip in list_ip_packets(packets, load_capture(folder / f"{where}.pcap")[1]):
        tcp = ip.tcp
        if tcp is None:
            continue
        if tcp.flags & (SYN | ACK) == SYN and (ip.target, tcp.dport) == (truth["target"], truth["port"]):
            syns[ip.source, tcp.sport, tcp.seq].append(time)
        elif tcp.flags & (SYN | ACK) == SYN | ACK and ip.source == truth["target"]:
            answers[ip.target, tcp.dport, tcp.ack - 1].append(time)
        elif tcp.flags & (SYN | ACK | RST) == ACK:
            completed.add((ip.source, tcp.sport))
    flood = {key: times for key, times in syns.items() if key[0] not in users}
    times = sorted(time for sent in flood.values() for time in sent)
    assert not {key[:2] for key in flood} & completed
    assert (times[0], times[-1]) == (to_micros(truth["start"]), to_micros(truth["end"]))
    assert truth["syns"] == len(times) > 100
    assert truth["rate"] == round(len(times) * 1e6 / (times[-1] - times[0]), 3)
    assert truth["sources"] == len({key[0] for key in flood})
    met = [sent for key, sent in answers.items() if key in flood]
    assert (truth["syn_acks"], truth["syn_ack_retransmissions"]) == (len(met), sum(len(sent) - 1 for sent in met))
    assert truth["dropped"] == len(flood) - len(met) > 0
    spans = [(to_micros(first), to_micros(last)) for first, last in truth["full"]]
    dropped = [times[0] for key, times in flood.items() if key not in answers]
    assert all(any(first <= time <= last for first, last in spans) for time in dropped)
    shut_out = [made for made in facts["connections"] if made["ending"] == "unanswered"]
    assert all(any(first <= to_micros(made["start"]) <= last for first, last in spans) for made in shut_out)
    assert shut_out or where == "mixed"
    assert scan["scanner"] not in {key[0] for key in flood}


@parametrize_where("syn_flood")
def test_the_scan_is_one_host_that_asks_many_ports(folder: Path, where: str) -> None:
    packets, facts = load_part(folder, "syn_flood", where)
    truth = facts["scan"]
    probed, answered = {}, {}
    for time, ip in list_ip_packets(packets, load_capture(folder / f"{where}.pcap")[1]):
        tcp = ip.tcp
        if tcp and (ip.source, ip.target) == (truth["scanner"], truth["target"]) and tcp.flags == SYN:
            probed[tcp.dport] = time
        elif tcp and (ip.target, ip.source) == (truth["scanner"], truth["target"]):
            answered[tcp.sport] = tcp.flags
    assert truth["ports"] == len(probed)
    assert (to_micros(truth["start"]), to_micros(truth["end"])) == (min(probed.values()), max(probed.values()))
    assert truth["open"] == sorted(port for port, flags in answered.items() if flags == SYN | ACK)
    assert truth["filtered"] == sorted(probed.keys() - answered.keys())
    assert {flags for port, flags in answered.items() if port not in truth["open"]} == {RST | ACK}


# Quality of service


@parametrize_where("qos")
def test_marks_jitter_and_loss_are_those_of_the_headers(folder: Path, where: str) -> None:
    packets, facts = load_part(folder, "qos", where)
    ends = {(made["source"], made["target"]) for made in facts["rtp"]}
    ends |= {(made["client"], made["server"]) for made in facts["connections"]}
    ends |= {(target, source) for source, target in ends}
    own = [packet for packet in packets if packet.ip and (packet.ip.source, packet.ip.target) in ends]
    sizes: dict[int, list[int]] = defaultdict(list)
    for packet in own:
        assert packet.ip
        sizes[packet.ip.tos >> 2].append(packet.wire)
    assert sorted(sizes) == [0, 8, 34, 46]
    for truth in facts["dscp"].values():
        assert (truth["packets"], truth["bytes"]) == (len(sizes[truth["dscp"]]), sum(sizes[truth["dscp"]]))
    ecn = Counter(str(packet.ip.tos & 3) for packet in own if packet.ip)
    assert {mark: ecn[mark] for mark in "0123"} == facts["ecn"]
    assert facts["ecn"]["3"] > 0
    tags = Counter(packet.vlan for packet in packets if packet.vlan is not None)
    assert tags == {made["priority"] << 13 | made["id"]: made["packets"] for made in facts["vlans"]}
    for truth in facts["rtp"]:
        stream = []
        for packet in own:
            udp = packet.ip and packet.ip.udp
            if udp and udp.payload[8:12] == truth["ssrc"].to_bytes(4, "big"):
                assert (udp.sport, udp.dport) == (truth["source_port"], truth["target_port"])
                _, kind, number, timestamp = struct.unpack("!BBHI", udp.payload[:8])
                assert kind & 127 == truth["payload_type"]
                stream.append((packet.time, number, timestamp))
        jitter = 0.0
        for (before, _, sent), (after, _, next_sent) in itertools.pairwise(stream):
            change = (after - before) * truth["clock_rate"] / 1e6 - (next_sent - sent)
            jitter += (abs(change) - jitter) / 16
        expected = (stream[-1][1] - stream[0][1]) % 2**16 + 1
        assert truth["packets"] == len(stream)
        assert truth["lost"] == expected - len(stream)
        assert truth["loss"] == round(truth["lost"] / expected, 6)
        assert truth["jitter"] == pytest.approx(jitter, abs=1e-4)
        assert truth["jitter_seconds"] == pytest.approx(jitter / truth["clock_rate"], abs=1e-8)
        assert (to_micros(truth["first"]), to_micros(truth["last"])) == (stream[0][0], stream[-1][0])
    assert sum(made["lost"] for made in facts["rtp"]) > 0 or where == "mixed"


# GTP-U


@parametrize_where("gtpu")
def test_tunnels_carry_what_a_walk_over_the_gtp_headers_counts(folder: Path, where: str) -> None:
    packets, facts = load_part(folder, "gtpu", where)
    totals: dict[Any, list[int]] = defaultdict(lambda: [0, 0])
    inner: list[tuple[int, Ip]] = []
    others: list[Any] = []
    for time, ip in list_ip_packets(packets):
        udp = ip.udp
        if udp is None or udp.dport != 2152:
            continue
        flags, kind, length, teid = struct.unpack("!BBHI", udp.payload[:8])
        assert flags >> 4 == 3, "version 1, protocol type GTP"
        assert length == len(udp.payload) - 8
        if kind != 255:
            others.append((time, ip.source, ip.target, kind, teid, udp.payload[8:]))
            continue
        assert flags & 7 == 4, "only an extension header"
        assert udp.payload[11] == 0x85
        octets, way, qfi, following = udp.payload[12:16]
        assert (octets, following) == (1, 0)
        user = parse_ip(udp.payload[16:])
        assert len(user.whole) == len(udp.payload) - 16
        inner.append((time, user))
        uplink = way >> 4 == 1
        direction, ue = ("uplink", user.source) if uplink else ("downlink", user.target)
        total = totals[ip.source, ip.target, teid, qfi, direction, ue]
        total[0] += 1
        total[1] += len(user.whole)
    names = ("source", "destination", "teid", "qfi", "direction", "ue")
    truth = {tuple(row[name] for name in names): [row["packets"], row["bytes"]] for row in facts["tunnels"]}
    assert truth == totals
    assert {user.version for _, user in inner} == {4, 6}
    assert {row["qfi"] for row in facts["tunnels"]} == {1, 5, 9}
    for session in facts["sessions"]:
        ways = {
            (row["teid"], row["direction"])
            for row in facts["tunnels"]
            if row["ue"] == session["ue"] and session["gnb"] in (row["source"], row["destination"])
        }
        assert {(session["uplink_teid"], "uplink"), (session["downlink_teid"], "downlink")} <= ways
    assert_connections(inner, facts["connections"])
    assert_gtp_signalling(others, facts)
    old = facts["handover"]
    late = [
        time
        for time, ip in list_ip_packets(packets)
        if ip.udp and ip.udp.payload[4:8] == old["teid"].to_bytes(4, "big")
    ]
    assert max(late) == to_micros(old["time"]), "the end marker is the last packet of its tunnel"


def assert_gtp_signalling(others: list[Any], facts: Facts) -> None:
    """Match echoes by sequence number, Error Indications by the TEID they report, End Markers by their own TEID."""
    requests, echoes, errors, markers = {}, [], [], []
    for time, source, target, kind, teid, body in others:
        number = int.from_bytes(body[:2], "big")
        if kind == 1:
            requests[source, target, number] = time
        elif kind == 2:
            assert body[4:] == b"\x0e\0"
            asked = requests.pop((target, source, number))
            echoes.append((asked, target, source, number, time - asked))
        elif kind == 26:
            assert (teid, body[4], body[9:12]) == (0, 16, b"\x85\0\4")
            errors.append((time, source, target, int.from_bytes(body[5:9], "big")))
        elif kind == 254:
            markers.append((time, target, teid))
    assert not requests
    assert sorted(echoes) == [
        (to_micros(e["time"]), e["source"], e["destination"], e["sequence"], to_micros(e["response_time"]))
        for e in facts["echoes"]
    ]
    assert errors == [(to_micros(e["time"]), e["source"], e["destination"], e["teid"]) for e in facts["errors"]]
    moved = facts["handover"]
    assert markers == [(to_micros(moved["time"]), moved["destination"], moved["teid"])]


def test_scapy_builds_the_same_gtp_messages() -> None:
    from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
    from scapy.layers.inet import IP, UDP

    user = bytes(IP(src="10.45.0.2", dst="203.0.113.1") / UDP(sport=1, dport=2) / b"data")
    for uplink in (True, False):
        theirs = (
            GTP_U_Header(teid=0xABCD, gtp_type=255, E=1, next_ex=0x85)
            / GTPPDUSessionContainer(type=int(uplink), QFI=9)
            / IP(user)
        )
        container = gtpu.encode_session_container(uplink, 9)
        assert gtpu.encode_message(gtpu.G_PDU, 0xABCD, user, container=container) == bytes(theirs)
    assert gtpu.encode_message(gtpu.END_MARKER, 77, b"") == bytes(GTP_U_Header(teid=77, gtp_type=254))
    assert gtpu.encode_message(gtpu.ECHO_REQUEST, 0, b"", 300) == bytes(GTP_U_Header(gtp_type=1, S=1, seq=300))


# N2 and N4


def read_chunks(data: bytes) -> list[tuple[int, int, bytes]]:
    """(type, flags, value) of an SCTP packet's chunks."""
    made, at = [], 12
    while at < len(data):
        kind, flags, length = struct.unpack("!BBH", data[at : at + 4])
        made.append((kind, flags, data[at + 4 : at + length]))
        at += -(-length // 4) * 4
    assert at == len(data)
    return made


PROCEDURES = {
    4: "DownlinkNASTransport", 7: "DownlinkRANStatusTransfer", 11: "HandoverNotification", 12: "HandoverPreparation",
    13: "HandoverResourceAllocation", 14: "InitialContextSetup", 15: "InitialUEMessage", 21: "NGSetup",
    28: "PDUSessionResourceRelease", 29: "PDUSessionResourceSetup", 41: "UEContextRelease",
    42: "UEContextReleaseRequest", 46: "UplinkNASTransport", 49: "UplinkRANStatusTransfer",
}  # fmt: skip
KINDS = {0x00: "initiating", 0x20: "successful", 0x40: "unsuccessful"}


def read_ngap_fields(message: bytes) -> tuple[str, int, int | None]:
    """Kind, procedure code and RAN UE NGAP ID of an NGAP PDU; its lengths must add up."""

    def read_length(at: int) -> tuple[int, int]:
        first = message[at]
        return (first, at + 1) if first < 128 else ((first & 127) << 8 | message[at + 1], at + 2)

    size, at = read_length(3)
    assert at + size == len(message)
    count, at, ran = int.from_bytes(message[at + 1 : at + 3], "big"), at + 3, None
    for _ in range(count):
        identifier = int.from_bytes(message[at : at + 2], "big")
        size, at = read_length(at + 3)
        if identifier == 85:
            ran = int.from_bytes(message[at + 1 : at + size], "big")
        at += size
    assert at == len(message)
    return KINDS[message[0]], message[1], ran


@parametrize_where("n2")
def test_associations_and_ngap_messages_are_those_of_a_walk_over_the_chunks(folder: Path, where: str) -> None:
    packets, facts = load_part(folder, "n2", where)
    counts: Counter[Any] = Counter()
    said: dict[str, list[Any]] = defaultdict(list)
    clients = {made["client"]: made for made in facts["associations"]}
    state: dict[str, Facts] = {
        client: {"data": 0, "again": [], "tsn": {}, "beats": [], "parts": b"", "sacks": ([], [])} for client in clients
    }
    for time, ip in list_ip_packets(packets):
        if ip.protocol != 132:
            continue
        sport, dport, tag = struct.unpack("!HHI", ip.data[:8])
        outbound = dport == 38412
        client = ip.source if outbound else ip.target
        truth, own = clients[client], state[client]
        assert (sport if outbound else dport) == truth["client_port"]
        for kind, flags, value in read_chunks(ip.data):
            assert tag == (0 if kind == 1 else truth["server_tag"] if outbound else truth["client_tag"])
            own.setdefault(kind, time)
            if kind in (4, 5):
                own["beats"].append((kind, time, outbound))
            if kind == 3:
                own["sacks"][outbound].append(int.from_bytes(value[:4], "big"))
            if kind != 0:
                continue
            tsn, stream, _, protocol = struct.unpack("!IHHI", value[:12])
            assert protocol == 60
            own["data"] += 1
            before = own["tsn"].get(outbound)
            if before is not None and tsn != (before + 1) % 2**32:
                own["again"].append((time, tsn))
                continue
            own["tsn"][outbound] = tsn
            own["parts"] = (b"" if flags & 2 else own["parts"]) + value[12:]
            if flags & 1:
                name, code, ran = read_ngap_fields(own["parts"])
                counts[client, stream, PROCEDURES[code], code, name] += 1
                said[client].append((time, name, code, ran))
    names = ("client", "stream", "procedure", "code", "kind")
    assert counts == {tuple(row[name] for name in names): row["count"] for row in facts["messages"]}
    for client, truth in clients.items():
        own = state[client]
        assert truth["data_chunks"] == own["data"] - len(own["again"])
        for outbound, acknowledged in enumerate(own["sacks"]):
            assert acknowledged == sorted(acknowledged)
            assert acknowledged[-1] == own["tsn"][not outbound]
        assert [(to_micros(made["time"]), made["tsn"]) for made in truth["retransmissions"]] == own["again"]
        assert (to_micros(truth["start"]), to_micros(truth["handshake_rtt"])) == (own[1], own[2] - own[1])
        assert own[1] < own[2] < own[10] < own[11]
        beats = sorted(own["beats"], key=lambda beat: beat[1])
        found = [(a[1], a[2], b[1] - a[1]) for a, b in zip(beats[::2], beats[1::2], strict=True)]
        assert found == [(to_micros(b["time"]), b["outbound"], to_micros(b["rtt"])) for b in truth["heartbeats"]]
        ended = {"shutdown": 7, "abort": 6, None: None}[truth["ending"]]
        assert {kind for kind in (6, 7, 8, 14) if kind in own} == {6: {6}, 7: {7, 8, 14}, None: set()}[ended]
        assert truth["ended"] is None or to_micros(truth["ended"]) == own[ended]
    assert_procedures(said, facts["procedures"])
    assert any(made["retransmissions"] for made in facts["associations"])


def assert_procedures(said: dict[str, list[Any]], procedures: list[Facts]) -> None:
    """Match each outcome with the last initiating message of its procedure and UE."""
    found = []
    for client, messages in said.items():
        waiting: dict[Any, int] = {}
        for time, kind, code, ran in sorted(messages, key=lambda message: message[0]):
            if kind == "initiating":
                waiting[code, ran if code != 13 else None] = time
            else:
                asked = waiting.pop((code, ran if code != 13 else None))
                found.append((asked, code, client, ran, time - asked, kind))
    truth = [
        (
            to_micros(row["time"]),
            row["code"],
            row["client"],
            row["ran_ue_id"],
            to_micros(row["response_time"]),
            row["outcome"],
        )
        for row in procedures
    ]
    assert sorted(found, key=str) == sorted(truth, key=str)
    assert {row["outcome"] for row in procedures} == {"successful", "unsuccessful"}


@parametrize_where("n2")
def test_pfcp_transactions_match_by_sequence_number_and_scapy_reads_their_causes(folder: Path, where: str) -> None:
    from scapy.contrib.pfcp import PFCP, IE_Cause

    packets, facts = load_part(folder, "n2", where)
    names = {1: "heartbeat", 5: "association_setup", 50: "establishment", 52: "modification", 54: "deletion"}
    asked: dict[int, tuple[int, int]] = {}
    found = []
    for time, ip in list_ip_packets(packets):
        udp = ip.udp
        if udp is None or udp.dport != 8805:
            continue
        flags, kind, length = struct.unpack("!BBH", udp.payload[:4])
        assert length == len(udp.payload) - 4
        number = int.from_bytes(udp.payload[12:15] if flags & 1 else udp.payload[4:7], "big")
        read_by_scapy = PFCP(udp.payload)
        assert (read_by_scapy.seq, read_by_scapy.message_type) == (number, kind)
        assert "not implemented" not in read_by_scapy.show(dump=True)
        if kind in names:
            asked[number] = (time, kind)
            continue
        sent, request = asked.pop(number)
        assert kind == request + 1
        cause = read_by_scapy.getlayer(IE_Cause)
        code = (
            cause.cause
            if cause
            else next((ie.cause for ie in read_by_scapy.iterpayloads() if "cause" in ie.fields), None)
        )
        found.append((names[request], number, sent, time - sent, code))
    assert not asked
    truth = [
        (row["message"], row["sequence"], to_micros(row["time"]), to_micros(row["response_time"]), row["cause"])
        for row in facts["pfcp"]
    ]
    assert sorted(found) == sorted(truth)
    assert {row["cause"] for row in facts["pfcp"]} >= {None, 1, 75}


# ICMP, ARP and neighbour discovery


@parametrize_where("icmp")
def test_pings_match_by_identifier_and_sequence_number(folder: Path, where: str) -> None:
    packets, facts = load_part(folder, "icmp", where)
    sent, answered = {}, {}
    for time, ip in list_ip_packets(packets):
        if ip.fragment & 0x3FFF or ip.protocol not in (1, 58):
            continue
        number, sequence = struct.unpack("!HH", ip.data[4:8])
        if ip.data[0] in (8, 128):
            sent[ip.source, ip.target, number, sequence] = time
        elif ip.data[0] in (0, 129):
            answered[ip.target, ip.source, number, sequence] = time
    for truth in facts["pings"]:
        rtts = []
        for sequence in range(1, truth["sent"] + 1):
            key = truth["source"], truth["target"], truth["id"], sequence
            rtts.append(to_seconds(answered[key] - sent[key]) if key in answered else None)
        assert rtts == truth["rtts"]
        assert truth["received"] == truth["sent"] - rtts.count(None)
        assert truth["loss"] == round(rtts.count(None) / truth["sent"], 6)
    assert len(sent) == sum(truth["sent"] for truth in facts["pings"])


@parametrize_where("icmp")
def test_traceroute_hops_are_told_by_the_quoted_probes(folder: Path, where: str) -> None:
    packets, facts = load_part(folder, "icmp", where)
    probes: dict[tuple[str, int], tuple[int, int]] = {}
    answers: dict[tuple[str, int], list[tuple[str, int]]] = defaultdict(list)
    for time, ip in list_ip_packets(packets):
        if ip.udp and ip.ttl < 20 and 33434 <= ip.udp.dport < 33500:
            probes[ip.target, ip.udp.dport] = (time, ip.ttl)
        elif ip.protocol == 1 and (ip.data[0] == 11 or ip.data[:2] == b"\3\3"):
            quoted = parse_ip(ip.data[8:])
            port = int.from_bytes(quoted.data[2:4], "big")
            sent, ttl = probes[quoted.target, port]
            answers[quoted.target, ttl].append((ip.source, time - sent))
    for truth in facts["traceroutes"]:
        assert truth["hops"][-1]["router"] == truth["target"]
        for hop in truth["hops"]:
            found = answers[truth["target"], hop["ttl"]]
            assert [to_seconds(rtt) for _, rtt in found] == hop["rtts"]
            assert {router for router, _ in found} == ({hop["router"]} if hop["router"] else set())
        assert sum(hop["router"] is None for hop in truth["hops"]) == 1


@parametrize_where("icmp")
def test_fragments_put_together_are_whole_messages_and_path_mtu_is_told(folder: Path, where: str) -> None:
    packets, facts = load_part(folder, "icmp", where)
    pieces: dict[Any, dict[int, bytes]] = defaultdict(dict)
    told = []
    for _, ip in list_ip_packets(packets):
        if ip.fragment & 0x3FFF:
            pieces[ip.source, ip.target, ip.identification][(ip.fragment & 0x1FFF) * 8] = ip.data
        if ip.protocol == 1 and ip.data[:2] == b"\3\4":
            quoted = parse_ip(ip.data[8:])
            size = struct.unpack("!H", ip.data[10:12])[0]
            told.append((quoted.source, quoted.target, size, ip.source, int.from_bytes(ip.data[6:8], "big")))
        if ip.protocol == 58 and ip.data[0] == 2:
            quoted = parse_ip(ip.data[8:])
            size = 40 + int.from_bytes(ip.data[12:14], "big")
            told.append((quoted.source, quoted.target, size, ip.source, int.from_bytes(ip.data[4:8], "big")))
    found = []
    for key, parts in pieces.items():
        whole = b"".join(parts[at] for at in sorted(parts))
        assert sorted(parts) == [sum(len(parts[a]) for a in sorted(parts) if a < at) for at in sorted(parts)]
        assert compute_word_sum(whole) == 0xFFFF
        found.append((*key, len(parts), len(whole)))
    keys = ("source", "target", "identification", "fragments", "octets")
    assert sorted(found) == sorted(tuple(truth[key] for key in keys) for truth in facts["fragmented"])
    keys = ("source", "target", "size", "router", "mtu")
    assert sorted(told) == sorted(tuple(truth[key] for key in keys) for truth in facts["path_mtu"])


@parametrize_where("icmp")
def test_arp_shows_an_address_with_two_macs_and_neighbours_are_counted(folder: Path, where: str) -> None:
    packets, facts = load_part(folder, "icmp", where)
    claims: dict[str, set[str]] = defaultdict(set)
    operations: Counter[int] = Counter()
    gratuitous, false, types = 0, [], Counter[int]()
    truth = facts["arp"]["conflict"]
    for packet in packets:
        if packet.ethertype == 0x0806:
            body = packet.frame[14:42]
            operation = int.from_bytes(body[6:8], "big")
            sender, address, target = body[8:14].hex(":"), ".".join(map(str, body[14:18])), body[24:28]
            operations[operation] += 1
            gratuitous += body[14:18] == target
            claims[address].add(sender)
            if (address, sender) == (truth["address"], truth["attacker"]):
                false.append(packet.time)
        if packet.ip and packet.ip.protocol == 58:
            types[packet.ip.data[0]] += 1
    arp = facts["arp"]
    assert (arp["requests"], arp["replies"], arp["gratuitous"]) == (operations[1], operations[2], gratuitous)
    assert {address for address, macs in claims.items() if len(macs) > 1} == {truth["address"]}
    assert truth["macs"] == sorted(claims[truth["address"]])
    assert (to_micros(truth["time"]), truth["claims"]) == (false[0], len(false))
    counts = types[135], types[136], types[133], types[134]
    names = ("solicitations", "advertisements", "router_solicitations", "router_advertisements")
    assert counts == tuple(facts["neighbours"][name] for name in names)


# Mixed


def test_mixed_holds_frames_that_are_not_ip_and_packets_that_are_broken_or_cut(folder: Path) -> None:
    packets, facts = load_capture(folder / "mixed.pcap")
    bridge = bytes.fromhex("0180c2000000")
    assert facts["non_ip"] == {
        "spanning_tree": sum(packet.frame[:6] == bridge for packet in packets),
        "lldp": sum(packet.ethertype == 0x88CC for packet in packets),
    }
    by_time = {packet.time: packet for packet in packets}
    for fault in facts["malformed"]:
        ip = by_time[to_micros(fault["time"])].ip
        assert ip
        with pytest.raises(AssertionError):
            assert_well_formed(ip)
    truth = facts["truncated"]
    cut = [packet for packet in packets if len(packet.frame) < packet.wire]
    assert (truth["packets"], truth["wire_bytes"]) == (len(cut), sum(packet.wire for packet in cut))
    assert truth["captured_bytes"] == sum(len(packet.frame) for packet in cut)
    assert {len(packet.frame) for packet in cut} == {truth["snaplen"]}


def assert_well_formed(ip: Ip) -> None:
    assert len(ip.whole) == int.from_bytes(ip.whole[2:4], "big")
    assert_checksums(ip)
    assert ip.protocol != 6 or ip.data[12] >> 4 >= 5
