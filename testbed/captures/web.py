"""Browsing: HTTP/1.1 and TLS connections from hosts of a LAN, at a tap in front of their gateway."""

import struct
from random import Random
from typing import Any

from testbed.captures.connection_plans import ConnectionPlan, Exchange
from testbed.captures.connections import record_connection
from testbed.captures.tap import MILLI, SECOND, Tap

CLIENTS = (*(f"192.168.10.{number}" for number in range(20, 28)), "2001:db8:10::21", "2001:db8:10::22")
# (name, IPv4, IPv6, RTT in ms)
SERVERS = (
    ("www.example.com", "203.0.113.10", "2001:db8:80::10", 12),
    ("cdn.example.net", "203.0.113.20", "2001:db8:80::20", 6),
    ("shop.example.org", "198.51.100.30", "2001:db8:80::30", 38),
    ("video.example.net", "198.51.100.40", "2001:db8:80::40", 24),
    ("api.example.com", "203.0.113.50", "2001:db8:80::50", 95),
    ("far.example.org", "198.51.100.60", "2001:db8:80::60", 180),
)
PATHS = ("/", "/index.html", "/news", "/static/app.js", "/static/style.css", "/images/logo.png", "/api/v1/items")
STATUS = ((200, "OK"),) * 8 + ((304, "Not Modified"), (404, "Not Found"), (503, "Service Unavailable"))
ENDINGS = ("fin",) * 8 + ("rst", "open")
SPAN = 40 * SECOND


def record_traffic(tap: Tap) -> dict[str, Any]:
    """Record the capture. Ground truth:

    `connections`, as connections.describe_connection, and `application` (http or tls), `host` and, for HTTP,
    `requests` with method, path and status. One more connection is refused and one is never answered; these two have
    none of the additional facts.
    """
    made = [_record_visit(tap, tap.draw.randrange(SPAN)) for _ in range(tap.scale_count(60))]
    for ending, server in (("refused", "203.0.113.10"), ("unanswered", "203.0.113.99")):
        start = tap.draw.randrange(SPAN)
        syns = 4 if ending == "unanswered" else 0
        plan = ConnectionPlan(
            CLIENTS[0], server, (tap.take_port(), 8443), start, 12 * MILLI, lost_syns=syns, ending=ending
        )
        made.append(record_connection(tap, plan))
    return {"connections": sorted(made, key=lambda connection: (connection["start"], connection["client_port"]))}


def _record_visit(tap: Tap, start: int) -> dict[str, Any]:
    draw = tap.draw
    name, ipv4, ipv6, rtt = draw.choice(SERVERS)
    client = draw.choice(CLIENTS)
    secure = draw.random() < 0.6
    requests: list[dict[str, Any]] = []
    if secure:
        exchanges = draw_tls_exchanges(draw, name)
    else:
        exchanges = []
        for _ in range(draw.randint(1, 3)):
            fields, exchange = draw_http_exchange(draw, name)
            requests.append(fields)
            exchanges.append(exchange)
    plan = ConnectionPlan(
        client=client,
        server=ipv6 if ":" in client else ipv4,
        ports=(tap.take_port(), 443 if secure else 80),
        start=start,
        rtt=rtt * MILLI + draw.randint(0, 3 * MILLI),
        exchanges=tuple(exchanges),
        jitter=300 + rtt * 10,
        mss=1440 if ":" in client else 1460,
        ending=draw.choice(ENDINGS),
    )
    facts = record_connection(tap, plan)
    return facts | {"application": "tls" if secure else "http", "host": name, "requests": requests}


def draw_http_exchange(draw: Random, host: str) -> tuple[dict[str, Any], Exchange]:
    """An HTTP GET with its response (RFC 9112); also returns its method, path and status."""
    path, (status, reason) = draw.choice(PATHS), draw.choice(STATUS)
    size = draw.choice((0, 500, 2_000, 8_000, 20_000, 45_000)) if status == 200 else 0 if status == 304 else 300
    head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: example/1.0\r\nAccept: */*\r\n\r\n"
    answer = f"HTTP/1.1 {status} {reason}\r\nServer: example\r\nContent-Length: {size}\r\n\r\n"
    body = b"<p>lorem ipsum dolor sit amet</p>\n" * (size // 34 + 1)
    exchange = Exchange(
        request=head.encode(),
        response=answer.encode() + body[:size],
        think=draw.randint(1, 60) * MILLI,
        pause=draw.randint(1, 400) * MILLI,
    )
    return {"method": "GET", "path": path, "status": status}, exchange


def draw_tls_exchanges(draw: Random, host: str) -> list[Exchange]:
    """A TLS 1.3 handshake and one request: records with the right types and lengths and random contents."""
    finished = encode_tls_record(0x14, b"\1") + encode_tls_record(0x17, draw.randbytes(53))
    hello = encode_tls_record(0x16, b"\2" + (118).to_bytes(3, "big") + b"\3\3" + draw.randbytes(116))
    sealed = encode_tls_record(0x17, draw.randbytes(draw.randint(1_800, 3_600)))
    page = encode_tls_record(0x17, draw.randbytes(draw.choice((600, 3_000, 9_000, 16_000))))
    return [
        Exchange(
            encode_client_hello(draw, host), hello + encode_tls_record(0x14, b"\1") + sealed, draw.randint(1, 8) * MILLI
        ),
        Exchange(
            finished + encode_tls_record(0x17, draw.randbytes(draw.randint(180, 700))),
            page,
            draw.randint(2, 80) * MILLI,
            draw.randint(1, 5) * MILLI,
        ),
    ]


def encode_tls_record(kind: int, content: bytes) -> bytes:
    """A TLS record of at most 2^14 octets (RFC 8446 section 5.1)."""
    return struct.pack("!BHH", kind, 0x0303, len(content)) + content


def encode_client_hello(draw: Random, host: str) -> bytes:
    """A ClientHello (RFC 8446 section 4.1.2) with server_name (RFC 6066 section 3), ALPN and supported_versions."""
    name = host.encode()
    extensions = b"".join(
        struct.pack("!HH", kind, len(content)) + content
        for kind, content in (
            (0, struct.pack("!HBH", len(name) + 3, 0, len(name)) + name),
            (10, b"\0\4\0\x1d\0\x17"),
            (13, b"\0\6\4\3\10\4\4\1"),
            (16, b"\0\x0c\2h2\10http/1.1"),
            (43, b"\4\3\4\3\3"),
            (51, b"\0\x24\0\x1d\0\x20" + draw.randbytes(32)),
        )
    )
    ciphers = b"\0\6\x13\1\x13\2\x13\3"
    body = b"\3\3" + draw.randbytes(32) + b"\x20" + draw.randbytes(32) + ciphers + b"\1\0"
    body += struct.pack("!H", len(extensions)) + extensions
    hello = b"\1" + len(body).to_bytes(3, "big") + body
    return struct.pack("!BHH", 0x16, 0x0301, len(hello)) + hello
