"""TCP over a bad path: uploads and downloads with planted losses, reordering, lost SYNs and a closed window."""

from typing import Any

from testbed.captures.connection_plans import ConnectionPlan, Exchange
from testbed.captures.connections import record_connection
from testbed.captures.tap import MILLI, SECOND, Tap

SEGMENT = 1460
CLIENTS = tuple(f"192.168.10.{number}" for number in range(31, 37))
SERVERS = ("203.0.113.70", "198.51.100.71", "203.0.113.72")


def record_traffic(tap: Tap) -> dict[str, Any]:
    """Record the capture. Ground truth:

    `connections`, as connections.describe_connection, and `kind`: clean, fast (uploads with single losses), timeout
    (the last segment of an upload is lost), download (losses before the tap, and reordering), lost_syn, or stall (the
    server stops reading: zero windows);
    `totals` over all connections.
    """
    kinds = ("clean", "fast", "timeout", "download", "lost_syn", "stall")
    made = []
    for kind in kinds:
        made += [_record_connection(tap, kind) for _ in range(tap.scale_count(1 if kind == "stall" else 3))]
    counted = ("retransmissions", "lost_before_tap", "out_of_order")
    totals = {name: sum(len(connection[name]) for connection in made) for name in counted}
    totals |= {
        name: sum(connection[name] for connection in made)
        for name in ("duplicate_acks", "zero_windows", "syn_retransmissions")
    }
    return {"connections": sorted(made, key=lambda connection: connection["start"]), "totals": totals}


def _record_connection(tap: Tap, kind: str) -> dict[str, Any]:
    draw = tap.draw
    segments = 100 if kind == "stall" else draw.randint(28, 44)
    bulk, short = b"\x55" * (segments * SEGMENT - 300), b"GET /file HTTP/1.1\r\nHost: files.example.net\r\n\r\n"
    request, response = (short, bulk) if kind == "download" else (bulk, b"HTTP/1.1 201 Created\r\n\r\n")
    lost: set[tuple[bool, int, int]] = set()
    overtaken: set[int] = set()
    if kind == "fast":
        lost = {(True, number, 1) for number in draw.sample(range(3, segments - 12), 2)}
    elif kind == "timeout":
        lost = {(True, segments - 1, copy) for copy in range(1, draw.randint(2, 3))}
    elif kind == "download":
        lost = {(False, draw.randint(3, 8), 1), (False, draw.randint(18, 22), 1)}
        overtaken = {11, segments - 4}
    plan = ConnectionPlan(
        client=draw.choice(CLIENTS),
        server=draw.choice(SERVERS),
        ports=(tap.take_port(), 80),
        start=draw.randrange(30 * SECOND),
        rtt=draw.randint(15, 90) * MILLI,
        exchanges=(Exchange(request, response, think=draw.randint(2, 20) * MILLI),),
        jitter=400,
        lost_syns=draw.randint(1, 2) if kind == "lost_syn" else 0,
        lost=frozenset(lost),
        overtaken=frozenset(overtaken),
        stall=(20 * SEGMENT, 1_500 * MILLI) if kind == "stall" else None,
    )
    return record_connection(tap, plan) | {"kind": kind}
