"""SCTP packets (RFC 9260) and an association between two hosts that messages are sent over."""

import struct
from dataclasses import dataclass, field
from typing import Any

from testbed.captures import frames
from testbed.captures.tap import MILLI, SECOND, Tap, clock, seconds

DATA, INIT, INIT_ACK, SACK, HEARTBEAT, HEARTBEAT_ACK, ABORT = 0, 1, 2, 3, 4, 5, 6
SHUTDOWN, SHUTDOWN_ACK, COOKIE_ECHO, COOKIE_ACK, SHUTDOWN_COMPLETE = 7, 8, 10, 11, 14
BEGINNING, ENDING = 2, 1
NGAP_PORT, NGAP_PPID = 38412, 60
"""TS 38.412 clause 7."""
CREDIT = 65_536
COOKIE_PARAMETER, HEARTBEAT_PARAMETER = 7, 1
FIRST_TIMEOUT = SECOND


def chunk(kind: int, flags: int, value: bytes) -> bytes:
    """A chunk padded to 4 octets; its length leaves the padding out (section 3.2)."""
    data = struct.pack("!BBH", kind, flags, 4 + len(value)) + value
    return data + bytes(-len(data) % 4)


def packet(ports: tuple[int, int], tag: int, *chunks: bytes) -> bytes:
    """Common header with CRC32c, and chunks."""
    from scapy.layers.sctp import crc32c

    head, body = struct.pack("!HHI", *ports, tag), b"".join(chunks)
    return head + struct.pack("!I", crc32c(head + bytes(4) + body)) + body


@dataclass
class _End:
    """One end: its address and port, the tag that packets to it carry, its next TSN and the next number a stream."""

    address: str
    port: int
    tag: int
    tsn: int
    numbers: dict[int, int] = field(default_factory=dict)


class Association:
    """An association recorded at a tap beside the client: what is planned over it, and what is recorded."""

    def __init__(self, tap: Tap, client: str, server: str, rtt: int, streams: int = 8) -> None:
        self.tap, self.rtt, self.streams = tap, rtt, streams
        draw = tap.draw
        self.client = _End(client, tap.port(), draw.getrandbits(32), draw.getrandbits(32))
        self.server = _End(server, NGAP_PORT, draw.getrandbits(32), draw.getrandbits(32))
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

    def _send(self, time: int, outbound: bool, *chunks: bytes, tag: int | None = None) -> None:
        source, target = (self.client, self.server) if outbound else (self.server, self.client)
        data = packet((source.port, target.port), target.tag if tag is None else tag, *chunks)
        self.tap.ip(time, source.address, target.address, frames.SCTP, data)

    def open(self, time: int) -> int:
        """The four-way handshake (section 5.1); when it is over. INIT goes out under tag 0."""
        wait = self.rtt + self.tap.draw.randrange(MILLI)
        cookie = self.tap.draw.randbytes(64)
        init = chunk(INIT, 0, self._init(self.client))
        parameter = struct.pack("!HH", COOKIE_PARAMETER, 4 + len(cookie)) + cookie
        self._send(time, True, init, tag=0)
        self._send(time + wait, False, chunk(INIT_ACK, 0, self._init(self.server) + parameter))
        self._send(time + wait + 80, True, chunk(COOKIE_ECHO, 0, cookie))
        self._send(time + wait + 80 + self.rtt, False, chunk(COOKIE_ACK, 0, b""))
        self.truth |= {"start": clock(time), "handshake_rtt": seconds(wait)}
        return time + wait + 80 + self.rtt

    def _init(self, end: _End) -> bytes:
        return struct.pack("!IIHHI", end.tag, CREDIT, self.streams, self.streams, end.tsn)

    def _data(self, sender: _End, stream: int, message: bytes, parts: int = 1) -> list[bytes]:
        """A message as DATA chunks, split over `parts` of them; all but the first and last have neither B nor E."""
        number = sender.numbers.get(stream, 0)
        sender.numbers[stream] = (number + 1) % 2**16
        size = -(-len(message) // parts)
        pieces = [message[at : at + size] for at in range(0, len(message), size)]
        made = []
        for index, piece in enumerate(pieces):
            flags = (BEGINNING if index == 0 else 0) | (ENDING if index == len(pieces) - 1 else 0)
            head = struct.pack("!IHHI", sender.tsn, stream, number, NGAP_PPID)
            made.append(chunk(DATA, flags, head + piece))
            sender.tsn = (sender.tsn + 1) % 2**32
        return made

    def plan(self, time: int, outbound: bool, stream: int, *messages: bytes, parts: int = 1) -> None:
        """Messages to be sent in one packet at `time`, each split over `parts` DATA chunks."""
        self._planned.append((time, len(self._planned), outbound, stream, messages, parts))

    def play(self, lose_last: bool = False) -> int:
        """Send what was planned, in order of time, each answered by a SACK; when the last is there.

        `lose_last`: the client's last message is lost behind the tap and sent again after a timeout (section 6.3.3).
        """
        ended = 0
        planned = sorted(self._planned)
        last = max((index for index, entry in enumerate(planned) if entry[2]), default=None)
        for index, (time, _, outbound, stream, messages, parts) in enumerate(planned):
            sender = self.client if outbound else self.server
            first = sender.tsn
            chunks = [made for message in messages for made in self._data(sender, stream, message, parts)]
            self.truth["data_chunks"] += len(chunks)
            self._send(time, outbound, *chunks)
            if lose_last and index == last:
                time += FIRST_TIMEOUT
                self._send(time, outbound, *chunks)
                again = [{"time": clock(time), "tsn": first + number} for number in range(len(chunks))]
                self.truth["retransmissions"] += again
            ended = time + (self.rtt if outbound else 60)
            sack = struct.pack("!IIHH", (sender.tsn - 1) % 2**32, CREDIT, 0, 0)
            self._send(ended, not outbound, chunk(SACK, 0, sack))
        return ended

    def heartbeat(self, time: int, outbound: bool) -> None:
        information = self.tap.draw.randbytes(16)
        parameter = struct.pack("!HH", HEARTBEAT_PARAMETER, 4 + len(information)) + information
        wait = (self.rtt if outbound else 40) + self.tap.draw.randrange(300)
        self._send(time, outbound, chunk(HEARTBEAT, 0, parameter))
        self._send(time + wait, not outbound, chunk(HEARTBEAT_ACK, 0, parameter))
        self.truth["heartbeats"].append({"time": clock(time), "outbound": outbound, "rtt": seconds(wait)})

    def shut_down(self, time: int) -> None:
        """The client ends the association (section 9.2)."""
        acknowledged = struct.pack("!I", (self.server.tsn - 1) % 2**32)
        self._send(time, True, chunk(SHUTDOWN, 0, acknowledged))
        self._send(time + self.rtt, False, chunk(SHUTDOWN_ACK, 0, b""))
        self._send(time + self.rtt + 70, True, chunk(SHUTDOWN_COMPLETE, 0, b""))
        self.truth |= {"ended": clock(time), "ending": "shutdown"}

    def abort(self, time: int) -> None:
        """The server ends it at once."""
        self._send(time, False, chunk(ABORT, 0, b""))
        self.truth |= {"ended": clock(time), "ending": "abort"}
