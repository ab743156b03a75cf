"""What one end of a TCP connection keeps as sender and receiver, and how it changes (RFC 5681, RFC 6582)."""

from collections import Counter
from dataclasses import dataclass, field

from testbed.captures.connection_plans import TcpSegment

WINDOW = 64_240
"""Receive buffer in octets: 44 segments of 1,460."""
FIRST_FLIGHT = 10
"""Segments sent before the first acknowledgement (RFC 6928)."""


@dataclass
class TcpEnd:
    """Offsets count octets of one direction: 0 is the SYN, 1 the first of data."""

    client: bool
    first: int
    """Initial sequence number."""
    mss: int
    congestion: int
    """Congestion window in octets."""
    stream: bytes = b""
    """All that the application has written."""
    closing: bool = False
    alive: bool = True
    next: int = 1
    acked: int = 1
    peer_window: int = WINDOW
    threshold: int = WINDOW
    recover: int = 0
    """Where `next` was when a loss was noticed; 0: no recovery."""
    cause: str = ""
    duplicates: int = 0
    backoff: int = 1
    timer: int = 0
    """Which timer counts; 0: none."""
    sent_at: dict[int, tuple[int, int]] = field(default_factory=dict)
    """When an unacknowledged segment was last sent, and the offset after it, by its own."""
    copies: Counter[int] = field(default_factory=Counter)
    """How often the segment at an offset was sent."""
    expected: int = 0
    """The first offset that was not received."""
    early: dict[int, int] = field(default_factory=dict)
    """Received beyond a hole: the offset after a segment by its own."""
    held: int = 0
    """Segments received since the last acknowledgement."""
    unread: int = 0
    free_at: int = 0
    last_arrival: int = 0
    overtaken: tuple[int, TcpSegment] | None = None

    def find_sendable_data(self) -> tuple[bytes, bool] | None:
        """The data that the windows allow to be sent next, and whether none can follow it at once."""
        left = len(self.stream) + 1 - self.next
        size = min(self.mss, left)
        room = min(self.congestion, self.peer_window) - (self.next - self.acked)
        if size <= 0 or size > room:  # below 0 after the FIN
            return None
        last = size == left or room - size < min(self.mss, left - size)
        return self.stream[self.next - 1 : self.next - 1 + size], last

    def begin_recovery(self, cause: str) -> None:
        """Begin recovery: half of what is in flight, or one segment after a timeout."""
        self.threshold = max((self.next - self.acked) // 2, 2 * self.mss)
        self.congestion = self.mss if cause == "timeout" else self.threshold
        self.recover, self.cause = self.next, cause

    def acknowledge_data(self, ack: int) -> tuple[list[int], bool]:
        """New data is acknowledged: when the segments it covers were sent (those sent once: Karn), and whether the next
        hole of a recovery is to be filled."""
        covered = sorted((offset, sent) for offset, (sent, stop) in self.sent_at.items() if stop <= ack)
        for offset, _ in covered:
            del self.sent_at[offset]
        self.acked, self.duplicates, self.backoff, self.timer = ack, 0, 1, 0
        partial = ack < self.recover
        if self.recover and not partial:
            self.recover, self.congestion = 0, self.threshold
        elif not self.recover:
            slow_start = self.congestion < self.threshold
            self.congestion += self.mss if slow_start else self.mss**2 // self.congestion
        return [sent for offset, sent in covered if self.copies[offset] == 1], partial

    def receive_data(self, offset: int, size: int) -> int:
        """Receive a segment; how many octets more are in order now (0: it came early)."""
        before = self.expected
        if offset > before:
            self.early[offset] = offset + size
            return 0
        self.expected = max(before, offset + size)
        while self.expected in self.early:
            self.expected = self.early.pop(self.expected)
        self.held += 1
        return self.expected - before
