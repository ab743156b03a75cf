"""DNS lookups (RFC 1035) from a LAN over UDP and TCP: answered, refused, late, repeated or never answered."""

from random import Random
from typing import Any

from testbed.captures.connection_plans import ConnectionPlan, Exchange
from testbed.captures.connections import record_connection
from testbed.captures.tap import MILLI, SECOND, Tap, to_seconds, to_unix_time

CLIENTS = tuple(f"192.168.10.{number}" for number in range(41, 47))
RESOLVERS = (("203.0.113.53", 9 * MILLI), ("198.51.100.53", 31 * MILLI))
TUNNELLER, TUNNEL_DOMAIN = "192.168.10.99", "t.tunnel.example.net"
NAMES = tuple(
    f"{host}.{domain}"
    for domain in ("example.com", "example.net", "example.org")
    for host in ("www", "mail", "cdn", "api", "static", "login")
)
TYPES = {"A": 1, "CNAME": 5, "SOA": 6, "TXT": 16, "AAAA": 28}
RCODES = {"NOERROR": 0, "SERVFAIL": 2, "NXDOMAIN": 3, "REFUSED": 5}
EDNS_SIZE = 1232
RETRY = 2 * SECOND
SPAN = 30 * SECOND
NUMBERS = {
    "answered": 120,
    "cname": 10,
    "edns": 16,
    "slow": 8,
    "nxdomain": 14,
    "servfail": 6,
    "refused": 3,
    "retried": 6,
    "unanswered": 5,
    "truncated": 3,
}
"""Kind -> number of lookups in a full capture."""
TUNNEL_QUERIES = 60


def record_traffic(tap: Tap) -> dict[str, Any]:
    """Record the capture. Ground truth:

    `lookups`, one per transaction: client, client_port, resolver, id, name, type, `kind` (one of NUMBERS or "tunnel"),
    time of the first query, number of `queries` sent, edns, truncated, rcode and response_time in seconds from the
    first query (both None if unanswered), and `tcp`, the connection over which a truncated answer was asked for again;
    `tunnel`: client, domain and number of queries of the host that sends data in names;
    `unanswered`: number of unanswered lookups.
    """
    lookups = [_record_lookup(tap, kind) for kind, number in NUMBERS.items() for _ in range(tap.scale_count(number))]
    lookups += [_record_tunnel_query(tap, number) for number in range(tap.scale_count(TUNNEL_QUERIES))]
    return {
        "lookups": sorted(lookups, key=lambda lookup: (lookup["time"], lookup["client_port"])),
        "unanswered": sum(lookup["rcode"] is None for lookup in lookups),
        "tunnel": {
            "client": TUNNELLER,
            "domain": TUNNEL_DOMAIN,
            "queries": sum(lookup["kind"] == "tunnel" for lookup in lookups),
        },
    }


def _record_lookup(tap: Tap, kind: str) -> dict[str, Any]:
    draw = tap.draw
    name, qtype = draw.choice(NAMES), draw.choice(("A", "A", "A", "AAAA"))
    if kind == "nxdomain":
        name = f"{draw.choice(('wpad', 'printer', 'old', 'typo'))}{draw.randrange(100)}.example.com"
    elif kind == "truncated":
        name, qtype = "txt.example.org", "TXT"
    client, (resolver, rtt) = draw.choice(CLIENTS), draw.choice(RESOLVERS)
    wait = rtt + draw.randint(100, 4 * MILLI)
    if kind == "slow":
        wait += draw.randint(300, 1_500) * MILLI
    return _record_transaction(tap, kind, draw.randrange(SPAN), client, resolver, name, qtype, wait)


def _record_tunnel_query(tap: Tap, number: int) -> dict[str, Any]:
    """A query with data in labels of 48 hexadecimal digits, answered by a TXT record; four per second."""
    data = tap.draw.randbytes(48).hex()
    name = f"{data[:48]}.{data[48:]}.{number:x}.{TUNNEL_DOMAIN}"
    start = 5 * SECOND + number * 250 * MILLI + tap.draw.randrange(20 * MILLI)
    resolver, rtt = RESOLVERS[0]
    return _record_transaction(
        tap, "tunnel", start, TUNNELLER, resolver, name, "TXT", rtt + tap.draw.randint(20, 60) * MILLI
    )


def _record_transaction(
    tap: Tap, kind: str, start: int, client: str, resolver: str, name: str, qtype: str, wait: int
) -> dict[str, Any]:
    number, port = tap.draw.getrandbits(16), tap.take_port()
    edns, truncated = kind in ("edns", "tunnel"), kind == "truncated"
    queries = {"retried": 2, "unanswered": 3}.get(kind, 1)
    rcode = kind.upper() if kind.upper() in RCODES else "NOERROR"
    query = encode_message(number, name, qtype, edns=edns)
    for copy in range(queries):
        tap.record_udp(start + copy * RETRY, client, resolver, (port, 53), query)
    answered = start + (queries - 1) * RETRY + wait
    records = [] if truncated or rcode != "NOERROR" else draw_answers(tap.draw, name, qtype, kind)
    if kind != "unanswered":
        reply = encode_message(number, name, qtype, edns, rcode, records, truncated)
        tap.record_udp(answered, resolver, client, (53, port), reply)
    connection = None
    if truncated:
        records = [(name, "TXT", "v=spf1 " + f"ip4:192.0.2.{part}/32 " * 8) for part in range(9)]
        asked = encode_message(number, name, qtype), encode_message(number, name, qtype, False, rcode, records)
        # Over TCP each message is preceded by its length (RFC 1035 section 4.2.2)
        request, response = (len(data).to_bytes(2, "big") + data for data in asked)
        exchange = Exchange(request, response, think=MILLI, pause=MILLI)
        plan = ConnectionPlan(client, resolver, (tap.take_port(), 53), answered + MILLI, wait, (exchange,), jitter=200)
        connection = record_connection(tap, plan)
    return {
        "kind": kind,
        "client": client,
        "client_port": port,
        "resolver": resolver,
        "id": number,
        "name": name,
        "type": qtype,
        "time": to_unix_time(start),
        "queries": queries,
        "edns": edns,
        "truncated": truncated,
        "rcode": None if kind == "unanswered" else rcode,
        "response_time": None if kind == "unanswered" else to_seconds(answered - start),
        "tcp": connection,
    }


def draw_answers(draw: Random, name: str, qtype: str, kind: str) -> list[tuple[str, str, str]]:
    """The records (name, type, data) that answer a question; for the kind "cname", the first one is an alias."""
    if qtype == "TXT":
        return [(name, "TXT", draw.randbytes(60).hex())]
    alias = f"edge.{name}" if kind == "cname" else name
    records = [(name, "CNAME", alias)] if alias != name else []
    for _ in range(draw.randint(1, 3)):
        last = draw.randint(1, 254)
        records.append((alias, qtype, f"203.0.113.{last}" if qtype == "A" else f"2001:db8:80::{last:x}"))
    return records


def encode_message(
    number: int,
    name: str,
    qtype: str,
    edns: bool = False,
    rcode: str | None = None,
    records: list[tuple[str, str, str]] | None = None,
    truncated: bool = False,
) -> bytes:
    """Encode a query or, with `rcode`, a response. NXDOMAIN carries the zone's SOA (RFC 2308), EDNS an OPT record."""
    from scapy.layers.dns import DNS, DNSQR, DNSRR, DNSRROPT, DNSRRSOA

    zone = DNSRRSOA(
        rrname="example.com", ttl=900, mname="ns1.example.com", rname="admin.example.com",
        serial=2024030501, refresh=7200, retry=3600, expire=1209600, minimum=900,
    )  # fmt: skip
    return bytes(
        DNS(
            id=number,
            qr=int(rcode is not None),
            tc=int(truncated),
            rd=1,
            ra=int(rcode is not None),
            rcode=RCODES[rcode or "NOERROR"],
            qd=[DNSQR(qname=name, qtype=TYPES[qtype], qclass=1)],
            an=[DNSRR(rrname=owner, type=kind, ttl=300, rdata=data) for owner, kind, data in records or []],
            ns=[zone] if rcode == "NXDOMAIN" else [],
            ar=[DNSRROPT(rclass=EDNS_SIZE)] if edns else [],
        )
    )
