"""Records for TCP connections: the plan of one, the segments a tap sees of it, and what an analysis should find.

Times are microseconds after the start of the capture.
"""

from dataclasses import dataclass

from testbed.captures.tap import MILLI


@dataclass(frozen=True)
class Exchange:
    """After a `pause` the client sends its request; the server responds after `think`. Both in microseconds."""

    request: bytes
    response: bytes
    think: int = 5 * MILLI
    pause: int = 2 * MILLI


@dataclass(frozen=True)
class ConnectionPlan:
    """A connection: its ends, its start, its path, what is exchanged and what goes wrong. Times in microseconds."""

    client: str
    server: str
    ports: tuple[int, int]
    start: int
    rtt: int
    exchanges: tuple[Exchange, ...] = ()
    jitter: int = 0
    """The most by which a one-way delay exceeds rtt / 2; segments keep their order."""
    mss: int = 1460
    lost_syns: int = 0
    lost: frozenset[tuple[bool, int, int]] = frozenset()
    """Segments lost on the path: (whether the client sent it, number of the data segment from 0, its copy from 1)."""
    overtaken: frozenset[int] = frozenset()
    """Numbers of the server's data segments that are overtaken by the next one."""
    stall: tuple[int, int] | None = None
    """(octets of the request after which the server stops reading, for how long); its window closes meanwhile."""
    ending: str = "fin"
    """fin, rst (by the client), open, refused or unanswered."""


@dataclass(frozen=True)
class TcpSegment:
    time: int
    outbound: bool
    seq: int
    ack: int
    flags: int
    window: int
    payload: bytes = b""
    options: bytes = b""


@dataclass(frozen=True)
class ConnectionFacts:
    """What an analysis of the capture should find. Times in microseconds, sequence numbers as on the wire."""

    handshake_rtt: int | None
    """From SYN to SYN-ACK; None if the SYN was sent again (Karn's algorithm) or not answered."""
    syn_retransmissions: int
    retransmissions: list[tuple[int, int, str]]
    """The client's retransmissions, whose first copies passed the tap: (time, seq, "fast" or "timeout")."""
    lost_before_tap: list[tuple[int, int]]
    """The server's segments that fill a hole, because their first copies were lost before the tap: (time, seq)."""
    out_of_order: list[tuple[int, int]]
    """The server's segments that were overtaken by another: (time, seq)."""
    duplicate_acks: int
    """Duplicate ACKs of both ends, as RFC 5681 section 2 defines them."""
    zero_windows: int
    rtt_samples: list[int]
    """For each of the client's data segments that was sent only once: the time to the first ACK that covers it."""
    sent: int
    received: int
    """Octets of application data delivered to the server (sent) and to the client (received)."""
