"""The state of one end of a TCP connection, as sender and receiver, and how it changes (RFC 5681, RFC 6582)."""

from collections import Counter
from dataclasses import dataclass, field

from testbed.captures.connection_plans import TcpSegment

WINDOW = 64_240
"""Receive buffer in octets: 44 segments of 1,460."""
FIRST_FLIGHT = 10
"""Segments sent before the first acknowledgement (RFC 6928)."""


@dataclass
class TcpEnd:
    """One end of a connection. Offsets count the octets of one direction: 0 is the SYN, 1 the first octet of data."""

    client: bool
    first: int
    """Initial sequence number."""
    mss: int
    congestion: int
    """Congestion window in octets."""
    stream: bytes = b""
    """Everything that the application has written."""
    closing: bool = False
    alive: bool = True
    next: int = 1
    """The offset to send next."""
    acked: int = 1
    """All offsets below this are acknowledged."""
    peer_window: int = WINDOW
    threshold: int = WINDOW
    recover: int = 0
    """The value of `next` when a loss was noticed; 0: not in recovery."""
    cause: str = ""
    duplicates: int = 0
    backoff: int = 1
    timer: int = 0
    """The number of the running timer; 0: none."""
    sent_at: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Offset of each unacknowledged segment -> (when it was last sent, the offset after it)."""
    copies: Counter[int] = field(default_factory=Counter)
    """Offset of a segment -> how often it was sent."""
    expected: int = 0
    """The first offset not yet received."""
    early: dict[int, int] = field(default_factory=dict)
    """Offset of each segment received beyond a hole -> the offset after it."""
    held: int = 0
    """Segments received since the last acknowledgement."""
    unread: int = 0
    """Octets received that the application has not read."""
    free_at: int = 0
    """When the last segment was sent; the next one follows a gap later."""
    last_arrival: int = 0
    """When the last segment sent arrives at the other end."""
    overtaken: tuple[int, TcpSegment] | None = None
    """(offset, segment) of a segment that waits to be overtaken by the next one."""

    def find_sendable_data(self) -> tuple[bytes, bool] | None:
        """The data that the windows allow to be sent now, and whether it is the last that they allow. None: no data."""
        left = len(self.stream) + 1 - self.next
        size = min(self.mss, left)
        room = min(self.congestion, self.peer_window) - (self.next - self.acked)
        if size <= 0 or size > room:  # size is negative after the FIN
            return None
        last = size == left or room - size < min(self.mss, left - size)
        return self.stream[self.next - 1 : self.next - 1 + size], last

    def begin_recovery(self, cause: str) -> None:
        """Begin recovery: the congestion window shrinks to half of the data in flight; on a timeout, to one segment."""
        self.threshold = max((self.next - self.acked) // 2, 2 * self.mss)
        self.congestion = self.mss if cause == "timeout" else self.threshold
        self.recover, self.cause = self.next, cause

    def acknowledge_data(self, ack: int) -> tuple[list[int], bool]:
        """Process the acknowledgement of new data.

        Returns when the segments that it covers were sent (without retransmitted ones: Karn's algorithm), and whether
        the sender must now fill the next hole of a recovery.
        """
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
        """Receive a segment. Returns how many more octets are now in order (0: the segment came early)."""
        before = self.expected
        if offset > before:
            self.early[offset] = offset + size
            return 0
        self.expected = max(before, offset + size)
        while self.expected in self.early:
            self.expected = self.early.pop(self.expected)
        self.held += 1
        return self.expected - before
