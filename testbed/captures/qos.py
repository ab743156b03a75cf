"""Marked traffic: voice in EF, video in AF41, a bulk transfer in CS1, the rest unmarked; partly on tagged VLANs."""

import struct
from dataclasses import dataclass
from typing import Any

from testbed.captures.connection_plans import ConnectionPlan, Exchange
from testbed.captures.connections import record_connection
from testbed.captures.tap import MILLI, SECOND, Tap, to_unix_time

DSCP = {"EF": 46, "AF41": 34, "CS1": 8, "DF": 0}
ECT0, CE = 2, 3
VLANS = {"EF": (100, 5), "AF41": (200, 4)}
"""VLAN id and 802.1p priority of each tagged class."""
CALLS = (("192.168.10.71", "203.0.113.171"), ("192.168.10.72", "198.51.100.172"))
CAMERA, VIEWER = "198.51.100.180", "192.168.10.81"
SLICE, LAST_SLICE = 1_100, 640
"""Payload octets of a video frame's packets, and of the last of them."""


@dataclass(frozen=True)
class RtpStream:
    """An RTP stream (RFC 3550) of one traffic class: who sends it, and its clock."""

    name: str
    source: str
    target: str
    ports: tuple[int, int]
    ssrc: int
    payload_type: int
    rate: int
    frame: int
    """Microseconds between voice or video frames."""


def record_traffic(tap: Tap) -> dict[str, Any]:
    """Record the capture. Ground truth:

    `dscp`: value, packets and bytes (whole frames) by traffic class;
    `ecn`: packets by ECN field, "0" to "3";
    `vlans`: id, 802.1p priority, packets;
    `connections` of CS1 and DF, as connections.describe_connection;
    `rtp`, one entry per stream: class, source, source_port, target, target_port, ssrc, payload_type, clock_rate, first,
    last, packets, lost (gaps in the sequence numbers), loss (share of the packets sent), ce (packets marked on the
    way), jitter (RFC 3550 section 6.4.1, after the last packet, in timestamp units, from unrounded arithmetic) and
    jitter_seconds.
    """
    classes, vlans = {}, []
    streams: list[dict[str, Any]] = []
    connections: list[dict[str, Any]] = []
    for name, make, found in (
        ("EF", _record_voice, streams),
        ("AF41", _record_video, streams),
        ("CS1", _record_bulk, connections),
        ("DF", _record_browsing, connections),
    ):
        since = len(tap.frames)
        found += make(tap)
        sizes = [frame.wire for frame in tap.frames[since:]]
        classes[name] = {"dscp": DSCP[name], "packets": len(sizes), "bytes": sum(sizes)}
        if name in VLANS:
            vlans.append({"id": VLANS[name][0], "priority": VLANS[name][1], "packets": len(sizes)})
    marked = sum(stream["ce"] for stream in streams)
    capable = classes["AF41"]["packets"] - marked
    rest = sum(group["packets"] for group in classes.values()) - capable - marked
    ecn = {"0": rest, "1": 0, "2": capable, "3": marked}
    return {"dscp": classes, "ecn": ecn, "vlans": vlans, "rtp": streams, "connections": connections}


def _record_voice(tap: Tap) -> list[dict[str, Any]]:
    """Two G.711 calls (RFC 3551: payload type 0, 160 octets every 20 ms), both ways."""
    made = []
    for near, far in CALLS:
        ports = (16_384 + 2 * tap.draw.randrange(4_000), 20_000 + 2 * tap.draw.randrange(4_000))
        start = tap.draw.randrange(4 * SECOND)
        for source, target, pair in ((near, far, ports), (far, near, ports[::-1])):
            stream = RtpStream("EF", source, target, pair, tap.draw.getrandbits(32), 0, 8_000, 20 * MILLI)
            times = [start + number * 20 * MILLI for number in range(tap.scale_count(260))]
            made.append(
                _record_stream(
                    tap, stream, [(time, 160, time == start) for time in times], 2_500 if source == far else 150, 2
                )
            )
    return made


def _record_video(tap: Tap) -> list[dict[str, Any]]:
    """A camera's 25 frames per second in packets 400 us apart (dynamic payload type 96, 90 kHz), ECN-capable."""
    stream = RtpStream("AF41", CAMERA, VIEWER, (5_004, 5_006), tap.draw.getrandbits(32), 96, 90_000, 40 * MILLI)
    start = tap.draw.randrange(3 * SECOND)
    packets = []
    for number in range(tap.scale_count(110)):
        parts = 8 if number % 25 == 0 else tap.draw.randint(2, 4)
        for part in range(parts):
            last = part == parts - 1
            packets.append((start + number * 40 * MILLI + part * 400, LAST_SLICE if last else SLICE, last))
    return [_record_stream(tap, stream, packets, 1_200, 1)]


def _record_stream(
    tap: Tap, stream: RtpStream, packets: list[tuple[int, int, bool]], delay: int, loss: int
) -> dict[str, Any]:
    """Record a stream's `packets`, each given as (time sent, octets, marker bit). Returns its ground truth.

    The path delays packets by 0 to 2 * `delay` microseconds, sometimes longer, and loses `loss` % of them. In the
    middle fifth of the stream it marks a third of the ECN-capable packets.
    """
    draw, size = tap.draw, len(packets)
    sequence, base = draw.getrandbits(16), draw.getrandbits(31)
    arrivals: list[int] = []
    marked, jitter, transit = 0, 0.0, 0.0
    for number, (time, octets, marker) in enumerate(packets):
        if 0 < number < size - 1 and draw.randrange(100) < loss:  # a loss at either end would leave no visible gap
            continue
        held = draw.randint(0, delay) + draw.randint(0, delay) + (4 * delay if draw.randrange(40) == 0 else 0)
        arrival = max(time + held, arrivals[-1] + 20 if arrivals else 0)
        congested = 2 * size // 5 <= number < 3 * size // 5
        ecn = 0 if stream.name == "EF" else CE if congested and draw.randrange(3) == 0 else ECT0
        marked += ecn == CE
        # All packets of a video frame carry the time of its first packet
        elapsed = (time - packets[0][0]) // stream.frame * stream.frame
        timestamp = base + elapsed * stream.rate // SECOND
        kind = marker << 7 | stream.payload_type
        header = struct.pack("!BBHII", 0x80, kind, (sequence + number) % 2**16, timestamp, stream.ssrc)
        payload, tos = header + b"\xd5" * octets, DSCP[stream.name] << 2 | ecn
        tap.record_udp(arrival, stream.source, stream.target, stream.ports, payload, tos=tos, vlan=VLANS[stream.name])
        relative = arrival * stream.rate / SECOND - timestamp
        if arrivals:
            jitter += (abs(relative - transit) - jitter) / 16
        transit = relative
        arrivals.append(arrival)
    lost = size - len(arrivals)
    return {
        "class": stream.name,
        "source": stream.source,
        "source_port": stream.ports[0],
        "target": stream.target,
        "target_port": stream.ports[1],
        "ssrc": stream.ssrc,
        "payload_type": stream.payload_type,
        "clock_rate": stream.rate,
        "first": to_unix_time(arrivals[0]),
        "last": to_unix_time(arrivals[-1]),
        "packets": len(arrivals),
        "lost": lost,
        "loss": round(lost / size, 6),
        "ce": marked,
        "jitter": round(jitter, 6),
        "jitter_seconds": round(jitter / stream.rate, 9),
    }


def _record_bulk(tap: Tap) -> list[dict[str, Any]]:
    response = b"\x0f" * (tap.scale_count(180) * 1_460)
    exchange = Exchange(b"GET /backup.img HTTP/1.1\r\nHost: backup.example.net\r\n\r\n", response)
    start, ports = tap.draw.randrange(2 * SECOND), (tap.take_port(), 80)
    plan = ConnectionPlan("192.168.10.90", "203.0.113.190", ports, start, 40 * MILLI, (exchange,), jitter=600)
    return [record_connection(tap, plan, tos=DSCP["CS1"] << 2)]


def _record_browsing(tap: Tap) -> list[dict[str, Any]]:
    made = []
    for _ in range(tap.scale_count(6)):
        exchange = Exchange(b"GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n", b"x" * tap.draw.randint(900, 9_000))
        start, ports = tap.draw.randrange(6 * SECOND), (tap.take_port(), 80)
        plan = ConnectionPlan("192.168.10.91", "198.51.100.191", ports, start, 22 * MILLI, (exchange,), jitter=500)
        made.append(record_connection(tap, plan))
    return made
