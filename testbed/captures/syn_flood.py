"""A server farm under a SYN flood from spoofed sources (RFC 4987), with users' connections and a port scan."""

import heapq
from typing import Any

from testbed.captures import frames
from testbed.captures.connection_plans import ConnectionPlan, Exchange
from testbed.captures.connections import record_connection
from testbed.captures.tap import MILLI, SECOND, Tap, to_unix_time

USERS = tuple(f"192.168.10.{number}" for number in range(51, 59))
VICTIM, PORT = "10.0.80.80", 80
SCANNER, SCANNED = "192.168.10.66", "10.0.80.90"
OPEN, FILTERED = frozenset((22, 80, 443)), frozenset((25, 110, 139))
BACKLOG = 128
"""Half-open connections that the victim can hold; it drops further SYNs."""
SYN_ACKS = (0, SECOND, 3 * SECOND)
"""Times after a SYN at which the victim answers it; it gives up at 7 s."""
GIVES_UP = 7 * SECOND
RESPONSE = 90


def record_traffic(tap: Tap) -> dict[str, Any]:
    """Record the capture. Ground truth:

    `flood`: target, port, start, end (first and last spoofed SYN), syns, rate in SYNs/s, distinct sources, syn_acks,
    syn_ack_retransmissions, dropped (SYNs that met a full backlog), full (spans of time in which it was full);
    `scan`: scanner, target, start, end, ports probed, and which were open and filtered (the others answered RST);
    `connections` of the users, as connections.describe_connection; those that meet a full backlog stay unanswered.
    """
    flood, full = _record_flood(tap)
    made = [_record_visit(tap, full) for _ in range(tap.scale_count(36))]
    flood["full"] = [[to_unix_time(first), to_unix_time(last)] for first, last in full]
    return {"flood": flood, "scan": _record_scan(tap), "connections": sorted(made, key=lambda made: made["start"])}


def _record_flood(tap: Tap) -> tuple[dict[str, Any], list[tuple[int, int]]]:
    draw = tap.draw
    first = 10 * SECOND + draw.randrange(4 * SECOND)
    size, backlog = max(160, tap.scale_count(850)), max(40, tap.scale_count(BACKLOG))
    arrivals = sorted({first + draw.randrange(9 * SECOND) for _ in range(size)})
    half_open: list[int] = []
    full: list[tuple[int, int]] = []
    sources, answered, repeated, filled = set(), 0, 0, None
    for time in arrivals:
        while half_open and half_open[0] <= time:
            freed = heapq.heappop(half_open)
            if filled is not None:
                full.append((filled, freed))
                filled = None
        source = f"198.{18 + draw.randrange(2)}.{draw.randrange(256)}.{draw.randint(1, 254)}"
        sources.add(source)
        ports, seq = (draw.randint(1_024, 65_535), PORT), draw.getrandbits(32)
        syn = frames.encode_tcp(source, VICTIM, ports, seq, 0, frames.SYN, 512)
        tap.record_ip(
            time, source, VICTIM, frames.TCP, syn, ttl=draw.randint(40, 60), identification=draw.getrandbits(16)
        )
        if len(half_open) == backlog:
            continue
        heapq.heappush(half_open, time + GIVES_UP)
        if len(half_open) == backlog:
            filled = time
        answer = frames.encode_tcp(
            VICTIM, source, ports[::-1], draw.getrandbits(32), (seq + 1) % 2**32, frames.SYN | frames.ACK, 64_240
        )
        answered += 1
        repeated += len(SYN_ACKS) - 1
        for delay in SYN_ACKS:
            tap.record_ip(time + RESPONSE + delay, VICTIM, source, frames.TCP, answer)
    if filled is not None:
        full.append((filled, half_open[0]))
    span = arrivals[-1] - arrivals[0]
    return {
        "target": VICTIM,
        "port": PORT,
        "start": to_unix_time(arrivals[0]),
        "end": to_unix_time(arrivals[-1]),
        "syns": len(arrivals),
        "rate": round(len(arrivals) * SECOND / span, 3),
        "sources": len(sources),
        "syn_acks": answered,
        "syn_ack_retransmissions": repeated,
        "dropped": len(arrivals) - answered,
    }, full


def _record_visit(tap: Tap, full: list[tuple[int, int]]) -> dict[str, Any]:
    """A user's connection; it stays unanswered if the victim's backlog is full."""
    draw = tap.draw
    server = draw.choice((VICTIM, VICTIM, SCANNED))
    start = draw.randrange(30 * SECOND)
    met = server == VICTIM and any(first <= start <= last for first, last in full)
    request = b"GET / HTTP/1.1\r\nHost: intranet.example.com\r\n\r\n"
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + b"x" * 3_000
    plan = ConnectionPlan(
        client=draw.choice(USERS),
        server=server,
        ports=(tap.take_port(), PORT),
        start=start,
        rtt=draw.randint(700, 1_500),
        exchanges=(Exchange(request, response, think=draw.randint(2, 30) * MILLI),),
        jitter=60,
        lost_syns=3 if met else 0,
        ending="unanswered" if met else "fin",
    )
    return record_connection(tap, plan)


def _record_scan(tap: Tap) -> dict[str, Any]:
    """One SYN to each port, from one source port; the scanner resets connections to open ports after the SYN-ACK."""
    draw, source_port = tap.draw, tap.take_port()
    ports = sorted({*OPEN, *FILTERED, *draw.sample(range(1, 1_024), tap.scale_count(150))})
    draw.shuffle(ports)
    start = 3 * SECOND + draw.randrange(SECOND)
    times = [start + number * 20 * MILLI + draw.randrange(4 * MILLI) for number in range(len(ports))]
    for time, port in zip(times, ports, strict=True):
        seq = draw.getrandbits(32)
        _record_segment(tap, time, SCANNER, (source_port, port), seq, 0, frames.SYN)
        if port in OPEN:
            theirs = draw.getrandbits(32)
            _record_segment(tap, time + 600, SCANNED, (port, source_port), theirs, seq + 1, frames.SYN | frames.ACK)
            _record_segment(tap, time + 680, SCANNER, (source_port, port), seq + 1, 0, frames.RST)
        elif port not in FILTERED:
            _record_segment(tap, time + 600, SCANNED, (port, source_port), 0, seq + 1, frames.RST | frames.ACK)
    return {
        "scanner": SCANNER,
        "target": SCANNED,
        "start": to_unix_time(times[0]),
        "end": to_unix_time(times[-1]),
        "ports": len(ports),
        "open": sorted(OPEN),
        "filtered": sorted(FILTERED),
    }


def _record_segment(tap: Tap, time: int, source: str, ports: tuple[int, int], seq: int, ack: int, flags: int) -> None:
    target = SCANNED if source == SCANNER else SCANNER
    window = 0 if flags & frames.RST else 1_024 if source == SCANNER else 64_240
    data = frames.encode_tcp(source, target, ports, seq % 2**32, ack % 2**32, flags, window)
    tap.record_ip(time, source, target, frames.TCP, data)
