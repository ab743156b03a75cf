"""Some traffic of every kind in one capture, with non-IP frames, malformed packets and truncated packets."""

import struct
from typing import Any

from testbed.captures import dns, frames, gtpu, icmp, n2, packet_loss, qos, syn_flood, web
from testbed.captures.tap import GATEWAY_MAC, MILLI, SECOND, Tap, get_mac, to_unix_time

KINDS = {
    "web": (web.record_traffic, 0.2),
    "loss": (packet_loss.record_traffic, 0.2),
    "dns": (dns.record_traffic, 0.2),
    "syn_flood": (syn_flood.record_traffic, 0.12),
    "qos": (qos.record_traffic, 0.12),
    "gtpu": (gtpu.record_traffic, 0.15),
    "n2": (n2.record_traffic, 0.15),
    "icmp": (icmp.record_traffic, 0.15),
}
"""Kind -> how it is recorded, and which share of a full capture."""
SNAPLEN = 96
SENDER, TARGET, DISCARD = "192.168.10.95", "203.0.113.9", 9
SWITCH_MAC, BRIDGES, NEIGHBOURS = "02:00:5e:00:00:5a", "01:80:c2:00:00:00", "01:80:c2:00:00:0e"
LLDP = 0x88CC


def record_traffic(tap: Tap) -> dict[str, Any]:
    """Record the capture. Ground truth:

    for each of KINDS, its facts under its name;
    `non_ip`: numbers of spanning tree and LLDP frames (ARP is counted in `icmp`);
    `malformed`: time and fault of packets with contradictory headers;
    `truncated`: source, target, packets, snaplen, and bytes captured and on the wire of a flow whose packets were cut.
    """
    facts: dict[str, Any] = {}
    for name, (kind, share) in KINDS.items():
        part = Tap(tap.draw, share)
        facts[name] = kind(part)
        tap.frames += part.frames
    return facts | {
        "non_ip": _record_switch(tap),
        "malformed": _record_malformed(tap),
        "truncated": _record_truncated(tap),
    }


def _record_switch(tap: Tap) -> dict[str, int]:
    """A switch's spanning tree (IEEE 802.1D, in an 802.3 frame with LLC) and its LLDP announcement (802.1AB)."""
    identity = b"\x80\0" + bytes.fromhex(SWITCH_MAC.replace(":", ""))
    timers = struct.pack("!HHHH", 0, 20 << 8, 2 << 8, 15 << 8)  # in units of 1/256 s
    bridge = b"\0\0\0\0\0" + identity + bytes(4) + identity + b"\x80\1" + timers
    logical = b"\x42\x42\3" + bridge
    for number in range(15):
        frame = frames.encode_ethernet(SWITCH_MAC, BRIDGES, logical, len(logical))
        tap.record_frame(number * 2 * SECOND + 400 * MILLI, frame)
    parts = ((1, b"\4" + identity[2:]), (2, b"\7" + b"1"), (3, struct.pack("!H", 120)), (5, b"switch-1"), (0, b""))
    announced = b"".join(struct.pack("!H", kind << 9 | len(value)) + value for kind, value in parts)
    tap.record_frame(SECOND, frames.encode_ethernet(SWITCH_MAC, NEIGHBOURS, announced, LLDP))
    return {"spanning_tree": 15, "lldp": 1}


def _record_malformed(tap: Tap) -> list[dict[str, Any]]:
    """Packets with wrong lengths or checksums; their IP checksums are right."""
    ports = (tap.take_port(), 80)
    whole = frames.encode_tcp(SENDER, TARGET, ports, 1, 1, frames.ACK, 512, b"malformed")
    short = frames.encode_udp(SENDER, TARGET, (ports[0], DISCARD), b"malformed")
    long_packet = frames.encode_ip(SENDER, TARGET, frames.UDP, short + bytes(400))
    packets = (
        ("TCP data offset of 2 words", frames.TCP, whole[:12] + b"\x20" + whole[13:], None),
        ("UDP length below 8", frames.UDP, short[:4] + b"\0\4" + short[6:], None),
        ("IPv4 total length above the frame", frames.UDP, b"", long_packet[:120]),
        ("TCP checksum wrong", frames.TCP, whole[:16] + bytes((whole[16] ^ 0xFF,)) + whole[17:], None),
    )
    made = []
    for number, (fault, protocol, payload, packet) in enumerate(packets):
        time = (5 + 4 * number) * SECOND + tap.draw.randrange(SECOND)
        data = packet or frames.encode_ip(SENDER, TARGET, protocol, payload)
        tap.record_frame(time, frames.encode_ethernet(get_mac(SENDER), GATEWAY_MAC, data, frames.IPV4), protocol)
        made.append({"time": to_unix_time(time), "fault": fault})
    return made


def _record_truncated(tap: Tap) -> dict[str, Any]:
    since, port = len(tap.frames), tap.take_port()
    for number in range(20):
        time = 9 * SECOND + number * 500 * MILLI + tap.draw.randrange(MILLI)
        tap.record_udp(time, SENDER, TARGET, (port, DISCARD), bytes(tap.draw.randint(200, 1_400)), snaplen=SNAPLEN)
    cut = tap.frames[since:]
    return {
        "source": SENDER,
        "target": TARGET,
        "packets": len(cut),
        "snaplen": SNAPLEN,
        "captured_bytes": sum(len(frame.data) for frame in cut),
        "wire_bytes": sum(frame.wire for frame in cut),
    }
