"""What a TCP connection is to be, the segments a tap sees of it, and what an analysis of them should find.

Times are microseconds after the start of the capture.
"""

from dataclasses import dataclass

from testbed.captures.tap import MILLI


@dataclass(frozen=True)
class Exchange:
    """The client's request, the server's response `think` microseconds after it, and the `pause` before it."""

    request: bytes
    response: bytes
    think: int = 5 * MILLI
    pause: int = 2 * MILLI


@dataclass(frozen=True)
class ConnectionPlan:
    """A connection: its ends, when it starts, its path, what is exchanged and what goes wrong. Microseconds."""

    client: str
    server: str
    ports: tuple[int, int]
    start: int
    rtt: int
    exchanges: tuple[Exchange, ...] = ()
    jitter: int = 0
    """Most that a one-way delay is longer than rtt / 2; order is kept."""
    mss: int = 1460
    lost_syns: int = 0
    lost: frozenset[tuple[bool, int, int]] = frozenset()
    """(sent by the client, number of the data segment from 0, its copy from 1): lost on the path."""
    overtaken: frozenset[int] = frozenset()
    """Numbers of the server's data segments that the next one overtakes."""
    stall: tuple[int, int] | None = None
    """(octets of the request after which the server stops reading, for how long): its window closes."""
    ending: str = "fin"
    """fin | rst (by the client) | open | refused | unanswered"""


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
    """What an analysis of the tap should find. Times in microseconds, sequence numbers as on the wire."""

    handshake_rtt: int | None
    """SYN to SYN-ACK; None where the SYN was sent again or not answered (Karn)."""
    syn_retransmissions: int
    retransmissions: list[tuple[int, int, str]]
    """(time, seq, "fast" | "timeout") of the client's segments, whose first copy the tap has seen."""
    lost_before_tap: list[tuple[int, int]]
    """(time, seq) of the server's segments that fill a hole: their first copy never reached the tap, later ones did."""
    out_of_order: list[tuple[int, int]]
    """(time, seq) of the server's segments that another overtook."""
    duplicate_acks: int
    """As RFC 5681 section 2 defines them, of both ends."""
    zero_windows: int
    rtt_samples: list[int]
    """The client's data segments sent once, until the first ACK that covers them."""
    sent: int
    received: int
    """Octets of the application's data delivered to the server and to the client."""
