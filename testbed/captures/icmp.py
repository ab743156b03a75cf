"""Pings, traceroutes, fragments, path MTU discovery, ARP with an address conflict, and IPv6 neighbour discovery."""

import struct
from typing import Any

from testbed.captures import frames
from testbed.captures.tap import GATEWAY_MAC, MILLI, SECOND, Tap, get_mac, to_seconds, to_unix_time

HOST, GATEWAY = "192.168.10.15", "192.168.10.1"
HOST6, ROUTER6 = "2001:db8:10::15", "fe80::1"
TARGETS = (("203.0.113.5", 14), ("198.51.100.9", 47), ("192.168.10.20", 1), ("203.0.113.77", 120), ("192.0.2.44", 28))
TARGETS6 = (("2001:db8:80::5", 16), ("2001:db8:80::9", 51))
ECHO_REPLY, UNREACHABLE, ECHO_REQUEST, TIME_EXCEEDED = 0, 3, 8, 11
PORT_UNREACHABLE, FRAGMENTATION_NEEDED = 3, 4
ECHO_REQUEST6, ECHO_REPLY6, TOO_BIG6 = 128, 129, 2
FIRST_PROBE_PORT = 33_434
DISCARD_PORTS = (40_500, 9)
MORE = 0x2000
MTU, SMALL_MTU = 1_500, 1_400
ATTACKER_MAC = "02:00:66:66:66:66"
BROADCAST = "ff:ff:ff:ff:ff:ff"
SPAN = 30 * SECOND


def record_traffic(tap: Tap) -> dict[str, Any]:
    """Record the capture. Ground truth:

    `pings`: source, target, id, sent, received, loss (share), rtts in seconds by sequence number (None: lost);
    `traceroutes`: target and hops, each with ttl, router (None: silent) and the rtts in seconds of answered probes;
    `fragmented`: source, target, identification, number of fragments, and octets of the reassembled IP payload;
    `path_mtu`, for IPv4 and IPv6: source, target, size, router, and the mtu that the router reported;
    `arp`: requests, replies, gratuitous, and `conflict`: the address, the macs that claimed it, the attacker's mac, the
    time of the first false claim, and the number of false claims;
    `neighbours`: numbers of ICMPv6 neighbour discovery messages by type.
    """
    arp, neighbours = _record_arp(tap), _record_neighbour_discovery(tap)
    pings = [_record_ping(tap, HOST, target, ms) for target, ms in TARGETS]
    pings += [_record_ping(tap, HOST6, target, ms) for target, ms in TARGETS6]
    return {
        "pings": pings,
        "traceroutes": [
            _record_traceroute(tap, target, number) for number, target in enumerate(("203.0.113.5", "192.0.2.44"))
        ],
        "fragmented": [made for number in range(tap.scale_count(6)) for made in _record_large_ping(tap, number)],
        "path_mtu": [_record_path_mtu(tap), _record_path_mtu6(tap)],
        "arp": arp,
        "neighbours": neighbours,
    }


def encode_echo(source: str, target: str, reply: bool, number: int, sequence: int, payload: bytes) -> bytes:
    """An ICMP or ICMPv6 echo message, depending on the family of its addresses."""
    rest = struct.pack("!HH", number, sequence)
    if ":" not in source:
        return frames.encode_icmp(ECHO_REPLY if reply else ECHO_REQUEST, 0, rest, payload)
    return encode_icmp6(source, target, ECHO_REPLY6 if reply else ECHO_REQUEST6, rest + payload)


def encode_icmp6(source: str, target: str, kind: int, body: bytes) -> bytes:
    """An ICMPv6 message (RFC 4443) with code 0; its checksum covers a pseudo-header."""
    data = bytes((kind, 0, 0, 0)) + body
    return data[:2] + struct.pack("!H", frames.compute_transport_checksum(source, target, frames.ICMPV6, data)) + body


def _record_ping(tap: Tap, source: str, target: str, milliseconds: int) -> dict[str, Any]:
    """One echo request per second, with 56 octets; a tenth of the replies is lost."""
    draw, number, start = tap.draw, tap.draw.getrandbits(16), tap.draw.randrange(4 * SECOND)
    protocol = frames.ICMPV6 if ":" in source else frames.ICMP
    payload = bytes(range(8, 64))
    rtts: list[float | None] = []
    for sequence in range(1, 1 + tap.scale_count(28)):
        time = start + (sequence - 1) * SECOND + draw.randrange(500)
        tap.record_ip(time, source, target, protocol, encode_echo(source, target, False, number, sequence, payload))
        if draw.randrange(10) == 0:
            rtts.append(None)
            continue
        wait = milliseconds * MILLI + draw.randrange(milliseconds * 200 + 100)
        tap.record_ip(
            time + wait, target, source, protocol, encode_echo(target, source, True, number, sequence, payload)
        )
        rtts.append(to_seconds(wait))
    lost = rtts.count(None)
    counts = {"sent": len(rtts), "received": len(rtts) - lost, "loss": round(lost / len(rtts), 6)}
    return {"source": source, "target": target, "id": number, **counts, "rtts": rtts}


def _record_traceroute(tap: Tap, target: str, number: int) -> dict[str, Any]:
    """Three UDP probes per TTL: routers answer Time Exceeded, the target Port Unreachable; the third hop is silent."""
    draw, port, time = tap.draw, tap.take_port(), (2 + 12 * number) * SECOND
    hops: list[dict[str, Any]] = []
    last = 6 + number
    for ttl in range(1, last + 1):
        router = GATEWAY if ttl == 1 else target if ttl == last else f"192.0.2.{10 * number + ttl}"
        rtts = []
        for probe in range(3):
            ports = (port, FIRST_PROBE_PORT + 3 * (ttl - 1) + probe)
            datagram = frames.encode_udp(HOST, target, ports, bytes(32))
            identification = tap.take_identification(HOST)
            tap.record_ip(time, HOST, target, frames.UDP, datagram, ttl=ttl, identification=identification, fragment=0)
            if ttl != 3:
                wait = ttl * 3 * MILLI + draw.randrange(2 * MILLI)
                packet = frames.encode_ip(
                    HOST, target, frames.UDP, datagram, ttl=1, identification=identification, fragment=0
                )
                kind, code = (UNREACHABLE, PORT_UNREACHABLE) if ttl == last else (TIME_EXCEEDED, 0)
                answer = frames.encode_icmp(kind, code, bytes(4), packet[:28])
                tap.record_ip(time + wait, router, HOST, frames.ICMP, answer)
                rtts.append(to_seconds(wait))
            time += 60 * MILLI
        hops.append({"ttl": ttl, "router": router if rtts else None, "rtts": rtts})
    return {"target": target, "hops": hops}


def _record_large_ping(tap: Tap, number: int) -> list[dict[str, Any]]:
    """Echo messages larger than the MTU, both ways, in fragments of 1,480 octets (RFC 791 section 2.3)."""
    target, time = TARGETS[0][0], 3 * SECOND + number * 2 * SECOND
    octets = tap.draw.choice((2_000, 4_000, 8_000))
    payload = tap.draw.randbytes(octets)
    made = []
    for reply, (source, to) in enumerate(((HOST, target), (target, HOST))):
        data = encode_echo(source, to, bool(reply), 0x4D54, number, payload)
        identification = tap.take_identification(source)
        starts = range(0, len(data), MTU - 20)
        for at in starts:
            piece = data[at : at + MTU - 20]
            bits = at // 8 | (MORE if at != starts[-1] else 0)
            sent = time + reply * 15 * MILLI + at // 100
            tap.record_ip(sent, source, to, frames.ICMP, piece, identification=identification, fragment=bits)
        made.append(
            {
                "source": source,
                "target": to,
                "identification": identification,
                "fragments": len(starts),
                "octets": len(data),
            }
        )
    return made


def _record_path_mtu(tap: Tap) -> dict[str, Any]:
    """RFC 1191: a packet with DF is too large for a router, which reports the MTU of its link."""
    target, router, time = "198.51.100.7", "192.0.2.99", tap.draw.randrange(SPAN)
    for size in (MTU, SMALL_MTU):
        datagram = frames.encode_udp(HOST, target, DISCARD_PORTS, bytes(size - 28))
        number = tap.take_identification(HOST)
        tap.record_ip(time, HOST, target, frames.UDP, datagram, identification=number)
        if size > SMALL_MTU:
            packet = frames.encode_ip(HOST, target, frames.UDP, datagram, identification=number, ttl=62)
            rest = struct.pack("!HH", 0, SMALL_MTU)
            told = frames.encode_icmp(UNREACHABLE, FRAGMENTATION_NEEDED, rest, packet[:28])
            tap.record_ip(time + 4 * MILLI, router, HOST, frames.ICMP, told)
        time += 6 * MILLI
    return {"source": HOST, "target": target, "size": MTU, "router": router, "mtu": SMALL_MTU}


def _record_path_mtu6(tap: Tap) -> dict[str, Any]:
    """RFC 8201: the router's Packet Too Big quotes as much of the packet as fits into 1,280 octets."""
    target, router, time = "2001:db8:80::7", "2001:db8:ff::99", tap.draw.randrange(SPAN)
    datagram = frames.encode_udp(HOST6, target, DISCARD_PORTS, bytes(MTU - 48))
    tap.record_ip(time, HOST6, target, frames.UDP, datagram)
    packet = frames.encode_ip(HOST6, target, frames.UDP, datagram, ttl=62)
    told = encode_icmp6(router, HOST6, TOO_BIG6, struct.pack("!I", SMALL_MTU) + packet[:1_232])
    tap.record_ip(time + 5 * MILLI, router, HOST6, frames.ICMPV6, told)
    return {"source": HOST6, "target": target, "size": MTU, "router": router, "mtu": SMALL_MTU}


def _record_arp(tap: Tap) -> dict[str, Any]:
    """Requests and replies (RFC 826), an announcement (RFC 5227), and an attacker that claims the gateway's address."""

    def send(time: int, operation: int, sender: tuple[str, str], target: tuple[str, str], to: str) -> None:
        body = struct.pack("!HHBBH", 1, frames.IPV4, 6, 4, operation)
        for hardware, address in (sender, target):
            body += bytes.fromhex(hardware.replace(":", "")) + frames.pack_address(address)
        tap.record_frame(time, frames.encode_ethernet(sender[0], to, body, frames.ARP))

    unknown, draw, asked = "00:00:00:00:00:00", tap.draw, tap.scale_count(20)
    gateway = (GATEWAY_MAC, GATEWAY)
    for number in range(asked):
        address = f"192.168.10.{15 + number}"
        host, time = (get_mac(address), address), draw.randrange(SPAN)
        send(time, 1, host, (unknown, GATEWAY), BROADCAST)
        send(time + draw.randint(90, 700), 2, gateway, host, host[0])
    new = (get_mac("192.168.10.200"), "192.168.10.200")
    send(8 * SECOND, 1, new, (unknown, new[1]), BROADCAST)
    false = 16 * SECOND + draw.randrange(SECOND)
    for copy in range(3):
        send(false + copy * SECOND, 2, (ATTACKER_MAC, GATEWAY), (BROADCAST, GATEWAY), BROADCAST)
    claims = sorted((GATEWAY_MAC, ATTACKER_MAC))
    conflict = {"address": GATEWAY, "macs": claims, "attacker": ATTACKER_MAC, "time": to_unix_time(false), "claims": 3}
    return {"requests": asked + 1, "replies": asked + 3, "gratuitous": 4, "conflict": conflict}


def _record_neighbour_discovery(tap: Tap) -> dict[str, int]:
    """Router and neighbour discovery (RFC 4861) with duplicate address detection (RFC 4862), encoded by Scapy."""
    from scapy.layers.inet6 import (
        ICMPv6ND_NA,
        ICMPv6ND_NS,
        ICMPv6ND_RA,
        ICMPv6ND_RS,
        ICMPv6NDOptDstLLAddr,
        ICMPv6NDOptPrefixInfo,
        ICMPv6NDOptSrcLLAddr,
        IPv6,
    )
    from scapy.layers.l2 import Ether

    def send(time: int, source: str, target: str, macs: tuple[str, str], body: Any) -> None:
        packet = Ether(src=macs[0], dst=macs[1]) / IPv6(src=source, dst=target, hlim=255) / body
        tap.record_frame(time, bytes(packet), frames.ICMPV6)

    nodes, own = "33:33:00:00:00:01", get_mac(HOST6)
    prefix = ICMPv6NDOptPrefixInfo(prefix="2001:db8:10::", prefixlen=64)
    advertised = ICMPv6ND_RA(chlim=64, routerlifetime=1_800) / ICMPv6NDOptSrcLLAddr(lladdr=GATEWAY_MAC) / prefix
    asked = tap.scale_count(12)
    send(SECOND, "::", "ff02::1:ff00:15", (own, "33:33:ff:00:00:15"), ICMPv6ND_NS(tgt=HOST6))
    send(2 * SECOND, "fe80::15", "ff02::2", (own, "33:33:00:00:00:02"), ICMPv6ND_RS())
    for time in (2 * SECOND + 8 * MILLI, 12 * SECOND, 22 * SECOND):
        send(time, ROUTER6, "ff02::1", (GATEWAY_MAC, nodes), advertised)
    for number in range(asked):
        time = 3 * SECOND + number * 2 * SECOND + tap.draw.randrange(SECOND)
        question = ICMPv6ND_NS(tgt=HOST6) / ICMPv6NDOptSrcLLAddr(lladdr=GATEWAY_MAC)
        send(time, ROUTER6, HOST6, (GATEWAY_MAC, own), question)
        answer = ICMPv6ND_NA(tgt=HOST6, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=own)
        send(time + tap.draw.randint(60, 500), HOST6, ROUTER6, (own, GATEWAY_MAC), answer)
    return {"solicitations": asked + 1, "advertisements": asked, "router_solicitations": 1, "router_advertisements": 3}
