"""GTP-U on N3 (3GPP TS 29.281) between gNBs and a UPF: users' packets with PDU Session Containers (TS 38.415)."""

import struct
from dataclasses import dataclass, replace
from typing import Any

from testbed.captures import frames
from testbed.captures.connection_plans import ConnectionPlan, Exchange
from testbed.captures.connections import describe_connection, encode_segment
from testbed.captures.tap import MILLI, SECOND, Tap, get_ttl, to_seconds, to_unix_time
from testbed.captures.tcp_simulation import simulate_connection

PORT = 2152
ECHO_REQUEST, ECHO_RESPONSE, ERROR_INDICATION, END_MARKER, G_PDU = 1, 2, 26, 254, 255
CONTAINER = 0x85
UPF, GNBS = "10.100.0.1", ("10.100.1.11", "10.100.1.12")
WEB, VOICE, SIGNALLING = 9, 1, 5
"""QFIs, equal to 5QIs of TS 23.501 table 5.7.4-1: best effort, conversational voice, IMS signalling."""
SERVERS = {4: ("203.0.113.110", "198.51.100.120"), 6: ("2001:db8:80::110", "2001:db8:80::120")}
MSS = 1340
SPAN, HANDOVER = 25 * SECOND, 12 * SECOND


@dataclass(frozen=True)
class PduSession:
    """A PDU session: its UE's and gNB's addresses, and the TEIDs of the UPF (for uplink) and the gNB (for downlink)."""

    ue: str
    gnb: str
    uplink: int
    downlink: int


def encode_message(kind: int, teid: int, payload: bytes, sequence: int | None = None, container: bytes = b"") -> bytes:
    """A GTP-U message (TS 29.281 clause 5.1); `container` is its extension header of type 0x85 (clause 5.2.1)."""
    flags = 0x30 | (4 if container else 0) | (0 if sequence is None else 2)
    optional = struct.pack("!HBB", sequence or 0, 0, CONTAINER if container else 0) if flags & 7 else b""
    body = optional + container + payload
    return struct.pack("!BBHI", flags, kind, len(body), teid) + body


def encode_session_container(uplink: bool, qfi: int) -> bytes:
    """A PDU Session Container of 4 octets: its length, PDU type (1 uplink, 0 downlink), QFI, no further extension."""
    return bytes((1, int(uplink) << 4, qfi, 0))


def record_traffic(tap: Tap) -> dict[str, Any]:
    """Record the capture. Ground truth:

    `sessions`: ue, gnb, uplink_teid (towards the UPF), downlink_teid (towards the gNB); one entry per gNB;
    `tunnels`, one entry per tunnel and QFI: source, destination, teid, qfi, direction, ue, packets, bytes (of the
    users' IP packets);
    `connections`: the users' TCP connections, as connections.describe_connection, and qfi;
    `echoes`: source, destination, sequence, time, response_time;
    `handover`: ue; time, destination and teid of the End Marker;
    `errors`: time, source and destination of Error Indications, and the teid that the sender did not know.
    """
    n3 = _N3(tap)
    draw = tap.draw
    sessions = []
    for number in range(3 + tap.scale_count(4)):
        ue = f"2001:db8:45::{number + 1:x}" if number % 3 == 2 else f"10.45.0.{number + 2}"
        sessions.append(PduSession(ue, GNBS[number % 2], draw.getrandbits(32), draw.getrandbits(32)))
    moved, handover = n3.record_handover(sessions[0], HANDOVER)
    for session in [*sessions, moved]:
        first, last = (HANDOVER + SECOND, SPAN) if session is moved else (0, SPAN)
        if session is sessions[0]:
            last = HANDOVER - 4 * SECOND
        n3.record_browsing(session, first, last, tap.scale_count(4))
        n3.record_datagrams(
            session, SIGNALLING, 5_060, [draw.randint(first, last) for _ in range(tap.scale_count(6))], 420
        )
    for session in sessions[1:3]:
        start = draw.randrange(SECOND)
        n3.record_datagrams(
            session, VOICE, 49_170, [start + number * 20 * MILLI for number in range(tap.scale_count(150))], 172
        )
    errors = [n3.record_stray_packet(sessions[1], draw.randrange(SPAN)) for _ in range(tap.scale_count(2))]
    echoes = [n3.record_echo(pair, draw.randrange(SPAN)) for gnb in GNBS for pair in ((gnb, UPF), (UPF, gnb))]
    return {
        "sessions": [
            {"ue": made.ue, "gnb": made.gnb, "uplink_teid": made.uplink, "downlink_teid": made.downlink}
            for made in [*sessions, moved]
        ],
        "tunnels": n3.list_tunnels(),
        "connections": sorted(n3.connections, key=lambda made: (made["start"], made["client_port"])),
        "echoes": sorted(echoes, key=lambda echo: echo["time"]),
        "handover": handover,
        "errors": sorted(errors, key=lambda error: error["time"]),
    }


class _N3:
    """Records what the gNBs and the UPF send each other, and counts it by tunnel."""

    def __init__(self, tap: Tap) -> None:
        self.tap, self.draw = tap, tap.draw
        self.connections: list[dict[str, Any]] = []
        self._totals: dict[tuple[str, str, int, int, str, str], list[int]] = {}

    def list_tunnels(self) -> list[dict[str, Any]]:
        names = ("source", "destination", "teid", "qfi", "direction", "ue", "packets", "bytes")
        return [dict(zip(names, (*key, *total), strict=True)) for key, total in sorted(self._totals.items())]

    def send_message(self, time: int, ends: tuple[str, str], data: bytes) -> None:
        self.tap.record_udp(time, *ends, (PORT, PORT), data)

    def carry_packet(self, time: int, session: PduSession, uplink: bool, qfi: int, packet: bytes) -> None:
        """Send a user's IP packet as a G-PDU."""
        outer = (session.gnb, UPF) if uplink else (UPF, session.gnb)
        teid = session.uplink if uplink else session.downlink
        self.send_message(
            time, outer, encode_message(G_PDU, teid, packet, container=encode_session_container(uplink, qfi))
        )
        total = self._totals.setdefault((*outer, teid, qfi, "uplink" if uplink else "downlink", session.ue), [0, 0])
        total[0] += 1
        total[1] += len(packet)

    def encode_inner_packet(self, source: str, target: str, protocol: int, payload: bytes) -> bytes:
        number = self.tap.take_identification(source)
        return frames.encode_ip(source, target, protocol, payload, identification=number, ttl=get_ttl(source))

    def draw_server(self, session: PduSession) -> str:
        return self.draw.choice(SERVERS[6 if ":" in session.ue else 4])

    def record_browsing(self, session: PduSession, first: int, last: int, number: int) -> None:
        """The user's downloads over TCP, in the default QoS flow."""
        for _ in range(number):
            response = b"HTTP/1.1 200 OK\r\n\r\n" + b"m" * self.draw.choice((1_200, 9_000, 24_000))
            exchange = Exchange(b"GET /app HTTP/1.1\r\nHost: m.example.com\r\n\r\n", response)
            plan = ConnectionPlan(
                client=session.ue,
                server=self.draw_server(session),
                ports=(self.tap.take_port(), 80),
                start=self.draw.randint(first, last),
                rtt=self.draw.randint(9, 28) * MILLI,
                exchanges=(exchange,),
                jitter=1_500,
                mss=MSS,
            )
            segments, facts = simulate_connection(plan, self.draw)
            for segment in segments:
                source, target, data = encode_segment(plan, segment)
                self.carry_packet(
                    segment.time,
                    session,
                    segment.outbound,
                    WEB,
                    self.encode_inner_packet(source, target, frames.TCP, data),
                )
            self.connections.append(describe_connection(plan, segments, facts) | {"qfi": WEB})

    def record_datagrams(self, session: PduSession, qfi: int, port: int, times: list[int], size: int) -> None:
        """Datagrams of `size` octets from the user at `times`, and one back a little later each time."""
        server, own = self.draw_server(session), self.tap.take_port()
        for time in times:
            up = frames.encode_udp(session.ue, server, (own, port), bytes(size))
            down = frames.encode_udp(server, session.ue, (port, own), bytes(size))
            self.carry_packet(time, session, True, qfi, self.encode_inner_packet(session.ue, server, frames.UDP, up))
            back = time + self.draw.randint(9, 13) * MILLI
            self.carry_packet(back, session, False, qfi, self.encode_inner_packet(server, session.ue, frames.UDP, down))

    def record_handover(self, session: PduSession, time: int) -> tuple[PduSession, dict[str, Any]]:
        """Move the session to the other gNB; an End Marker (clause 7.3.2) closes its old downlink tunnel."""
        self.send_message(time, (UPF, session.gnb), encode_message(END_MARKER, session.downlink, b""))
        target = GNBS[1 - GNBS.index(session.gnb)]
        moved = replace(session, gnb=target, downlink=self.draw.getrandbits(32))
        marker = {"ue": session.ue, "time": to_unix_time(time), "destination": session.gnb, "teid": session.downlink}
        return moved, marker

    def record_stray_packet(self, session: PduSession, time: int) -> dict[str, Any]:
        """A G-PDU with a TEID that the gNB no longer knows, and the gNB's Error Indication (clause 7.3.1)."""
        stale, server = replace(session, downlink=self.draw.getrandbits(32)), self.draw_server(session)
        late = frames.encode_udp(server, session.ue, (443, self.tap.take_port()), bytes(90))
        self.carry_packet(time, stale, False, WEB, self.encode_inner_packet(server, session.ue, frames.UDP, late))
        answered = time + self.draw.randint(200, 900)
        address = frames.pack_address(session.gnb)
        told = struct.pack("!BI", 16, stale.downlink) + struct.pack("!BH", 133, len(address)) + address
        self.send_message(answered, (session.gnb, UPF), encode_message(ERROR_INDICATION, 0, told, sequence=0))
        return {"time": to_unix_time(answered), "source": session.gnb, "destination": UPF, "teid": stale.downlink}

    def record_echo(self, pair: tuple[str, str], time: int) -> dict[str, Any]:
        """An Echo Request and the Response with a Recovery element (clause 7.2); at most one per path in 60 s."""
        sequence, wait = self.draw.getrandbits(16), self.draw.randint(300, 4_000)
        self.send_message(time, pair, encode_message(ECHO_REQUEST, 0, b"", sequence))
        self.send_message(time + wait, pair[::-1], encode_message(ECHO_RESPONSE, 0, bytes((14, 0)), sequence))
        return {
            "source": pair[0],
            "destination": pair[1],
            "sequence": sequence,
            "time": to_unix_time(time),
            "response_time": to_seconds(wait),
        }
