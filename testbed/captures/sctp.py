"""Encodes SCTP packets (RFC 9260), and records an association between two hosts with the messages sent over it."""

import struct
from dataclasses import dataclass, field
from typing import Any

from testbed.captures import frames
from testbed.captures.tap import MILLI, SECOND, Tap, to_seconds, to_unix_time

DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT = 0, 1, 2, 3, 4, 5, 6
SHUTDOWN, SHUTDOWN_ACK, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE = 7, 8, 10, 11, 14
BEGINNING, ENDING = 2, 1
NGAP_PORT, NGAP_PPID = 38412, 60
"""TS 38.412 clause 7."""
CREDIT = 65_536
COOKIE_PARAMETER, HEARTBEAT_PARAMETER = 7, 1
FIRST_TIMEOUT = SECOND


def encode_chunk(kind: int, flags: int, value: bytes) -> bytes:
    """A chunk, padded to 4 octets; its length field does not count the padding (section 3.2)."""
    data = struct.pack("!BBH", kind, flags, 4 + len(value)) + value
    return data + bytes(-len(data) % 4)


def encode_packet(ports: tuple[int, int], tag: int, *chunks: bytes) -> bytes:
    """The common header with its CRC32c checksum, and chunks."""
    from scapy.layers.sctp import crc32c

    head, body = struct.pack("!HHI", *ports, tag), b"".join(chunks)
    return head + struct.pack("!I", crc32c(head + bytes(4) + body)) + body


@dataclass
class _SctpEnd:
    """One end: its address and port, the tag of packets to it, its next TSN, and each stream's next sequence number."""

    address: str
    port: int
    tag: int
    tsn: int
    numbers: dict[int, int] = field(default_factory=dict)


class SctpAssociation:
    """Records an association at a tap beside the client: first messages are planned, then sent in order of time."""

    def __init__(self, tap: Tap, client: str, server: str, rtt: int, streams: int = 8) -> None:
        self.tap, self.rtt, self.streams = tap, rtt, streams
        draw = tap.draw
        self.client = _SctpEnd(client, tap.take_port(), draw.getrandbits(32), draw.getrandbits(32))
        self.server = _SctpEnd(server, NGAP_PORT, draw.getrandbits(32), draw.getrandbits(32))
        self._planned: list[tuple[int, int, bool, int, tuple[bytes, ...], int]] = []
        self.truth: dict[str, Any] = {
            "client": client,
            "client_port": self.client.port,
            "server": server,
            "client_tag": self.client.tag,
            "server_tag": self.server.tag,
            "data_chunks": 0,
            "retransmissions": [],
            "heartbeats": [],
            "ended": None,
            "ending": None,
        }

    def _send_chunks(self, time: int, outbound: bool, *chunks: bytes, tag: int | None = None) -> None:
        source, target = (self.client, self.server) if outbound else (self.server, self.client)
        data = encode_packet((source.port, target.port), target.tag if tag is None else tag, *chunks)
        self.tap.record_ip(time, source.address, target.address, frames.SCTP, data)

    def open(self, time: int) -> int:
        """The four-way handshake (section 5.1); INIT has tag 0. Returns when it is over."""
        wait = self.rtt + self.tap.draw.randrange(MILLI)
        cookie = self.tap.draw.randbytes(64)
        init = encode_chunk(INIT, 0, self._encode_init(self.client))
        parameter = struct.pack("!HH", COOKIE_PARAMETER, 4 + len(cookie)) + cookie
        self._send_chunks(time, True, init, tag=0)
        self._send_chunks(time + wait, False, encode_chunk(INIT_ACK, 0, self._encode_init(self.server) + parameter))
        self._send_chunks(time + wait + 80, True, encode_chunk(COOKIE_ECHO, 0, cookie))
        self._send_chunks(time + wait + 80 + self.rtt, False, encode_chunk(COOKIE_ACK, 0, b""))
        self.truth |= {"start": to_unix_time(time), "handshake_rtt": to_seconds(wait)}
        return time + wait + 80 + self.rtt

    def _encode_init(self, end: _SctpEnd) -> bytes:
        return struct.pack("!IIHHI", end.tag, CREDIT, self.streams, self.streams, end.tsn)

    def _encode_data(self, sender: _SctpEnd, stream: int, message: bytes, parts: int = 1) -> list[bytes]:
        """Encode a message as DATA chunks, `parts` of them. The first has flag B, the last flag E."""
        number = sender.numbers.get(stream, 0)
        sender.numbers[stream] = (number + 1) % 2**16
        size = -(-len(message) // parts)
        pieces = [message[at : at + size] for at in range(0, len(message), size)]
        made = []
        for index, piece in enumerate(pieces):
            flags = (BEGINNING if index == 0 else 0) | (ENDING if index == len(pieces) - 1 else 0)
            head = struct.pack("!IHHI", sender.tsn, stream, number, NGAP_PPID)
            made.append(encode_chunk(DATA, flags, head + piece))
            sender.tsn = (sender.tsn + 1) % 2**32
        return made

    def plan_messages(self, time: int, outbound: bool, stream: int, *messages: bytes, parts: int = 1) -> None:
        """Plan messages that go out in one packet at `time`, each in `parts` DATA chunks."""
        self._planned.append((time, len(self._planned), outbound, stream, messages, parts))

    def send_planned(self, lose_last: bool = False) -> int:
        """Send the planned messages in order of time, each answered by a SACK. Returns when the last SACK arrives.

        `lose_last`: the client's last message is lost behind the tap and sent again after a timeout (section 6.3.3).
        """
        ended = 0
        planned = sorted(self._planned)
        last = max((index for index, entry in enumerate(planned) if entry[2]), default=None)
        for index, (time, _, outbound, stream, messages, parts) in enumerate(planned):
            sender = self.client if outbound else self.server
            first = sender.tsn
            chunks = [made for message in messages for made in self._encode_data(sender, stream, message, parts)]
            self.truth["data_chunks"] += len(chunks)
            self._send_chunks(time, outbound, *chunks)
            if lose_last and index == last:
                time += FIRST_TIMEOUT
                self._send_chunks(time, outbound, *chunks)
                again = [{"time": to_unix_time(time), "tsn": first + number} for number in range(len(chunks))]
                self.truth["retransmissions"] += again
            ended = time + (self.rtt if outbound else 60)
            sack = struct.pack("!IIHH", (sender.tsn - 1) % 2**32, CREDIT, 0, 0)
            self._send_chunks(ended, not outbound, encode_chunk(SACK, 0, sack))
        return ended

    def exchange_heartbeat(self, time: int, outbound: bool) -> None:
        information = self.tap.draw.randbytes(16)
        parameter = struct.pack("!HH", HEARTBEAT_PARAMETER, 4 + len(information)) + information
        wait = (self.rtt if outbound else 40) + self.tap.draw.randrange(300)
        self._send_chunks(time, outbound, encode_chunk(HEARTBEAT, 0, parameter))
        self._send_chunks(time + wait, not outbound, encode_chunk(HEARTBEAT_ACK, 0, parameter))
        self.truth["heartbeats"].append({"time": to_unix_time(time), "outbound": outbound, "rtt": to_seconds(wait)})

    def shut_down(self, time: int) -> None:
        """The client shuts the association down (section 9.2)."""
        acknowledged = struct.pack("!I", (self.server.tsn - 1) % 2**32)
        self._send_chunks(time, True, encode_chunk(SHUTDOWN, 0, acknowledged))
        self._send_chunks(time + self.rtt, False, encode_chunk(SHUTDOWN_ACK, 0, b""))
        self._send_chunks(time + self.rtt + 70, True, encode_chunk(SHUTDOWN_COMPLETE, 0, b""))
        self.truth |= {"ended": to_unix_time(time), "ending": "shutdown"}

    def abort(self, time: int) -> None:
        """The server aborts the association."""
        self._send_chunks(time, False, encode_chunk(ABORT, 0, b""))
        self.truth |= {"ended": to_unix_time(time), "ending": "abort"}
