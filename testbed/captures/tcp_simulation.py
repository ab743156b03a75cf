"""A TCP connection played event by event, as a tap beside the client sees it, with what happened in it.

Two ends exchange requests and responses over a path with a delay; segments named by the plan are lost or overtaken,
and the senders recover as NewReno does (RFC 5681, RFC 6582, RFC 6298): three duplicate ACKs or a timeout, so that a
retransmission stands in the capture because of what came before it. Neither SACK nor window scaling is offered.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random

from testbed.captures.connection_plans import Facts, Plan, Segment
from testbed.captures.frames import ACK, FIN, PSH, RST, SYN
from testbed.captures.tap import MILLI, SECOND
from testbed.captures.tcp_end import FIRST_FLIGHT, WINDOW, End

GAP = 12
"""Microseconds between two segments of one sender: 1,500 octets at 1 Gbit/s."""
LEAST_TIMEOUT = 200 * MILLI
FIRST_TIMEOUT = SECOND


class _Play:
    """The events of one connection, earliest first."""

    def __init__(self, plan: Plan, draw: Random) -> None:
        self.plan, self.draw, self.now = plan, draw, plan.start
        self.client = End(True, draw.getrandbits(32), plan.mss, FIRST_FLIGHT * plan.mss)
        self.server = End(False, draw.getrandbits(32), plan.mss, FIRST_FLIGHT * plan.mss)
        self.seen: list[Segment] = []
        self.handshake: int | None = None
        self.retransmissions: list[tuple[int, int, str]] = []
        self.holes: list[tuple[int, int]] = []
        self.reordered: list[tuple[int, int]] = []
        self.samples: list[int] = []
        self.duplicates = 0
        self.syns = plan.lost_syns + (plan.ending != "unanswered")
        self.waiting = deque(plan.exchanges)
        self.request_end = self.response_end = 1
        self.read_on = False
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def after(self, delay: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._count), action))

    def run(self) -> None:
        self.after(0, self.connect)
        while self._events:
            self.now, _, action = heapq.heappop(self._events)
            action()

    # Opening and closing

    def connect(self) -> None:
        for copy in range(self.syns):  # the first timeout of 1 s doubles (RFC 6298 section 5.5)
            self.after(FIRST_TIMEOUT * (2**copy - 1), lambda: self.emit(self.client, 0, SYN))
        if self.plan.ending == "refused":
            ack = (self.client.first + 1) % 2**32
            self.seen.append(Segment(self.now + self.plan.rtt, False, 0, ack, RST | ACK, 0))
        elif self.plan.ending != "unanswered":
            self.after(FIRST_TIMEOUT * (2**self.plan.lost_syns - 1) + self.delay(), self.accept)

    def accept(self) -> None:
        self.server.expected = 1
        self.emit(self.server, 0, SYN | ACK)

    def established(self) -> None:
        if self.plan.lost_syns == 0:
            self.handshake = self.now - self.plan.start
        self.client.expected = 1
        self.after(30, lambda: self.emit(self.client, 1, ACK))
        self.after(60, self.request)

    def request(self) -> None:
        if self.waiting:
            self.after(self.waiting[0].pause, self._write_request)
        elif self.plan.ending == "fin":
            self.after(MILLI, lambda: self.close(self.client))
        elif self.plan.ending == "rst":
            self.after(MILLI, self.abort)

    def _write_request(self) -> None:
        self.request_end += len(self.waiting[0].request)
        self.response_end += len(self.waiting[0].response)
        self.client.stream += self.waiting[0].request
        self.pump(self.client)

    def _write_response(self) -> None:
        self.server.stream += self.waiting[0].response
        self.pump(self.server)

    def close(self, end: End) -> None:
        end.closing = True
        self.pump(end)

    def abort(self) -> None:
        self.client.alive = False
        self.emit(self.client, self.client.next, RST | ACK)

    # Sending

    def delay(self) -> int:
        return self.plan.rtt // 2 + self.draw.randint(0, self.plan.jitter)

    def emit(self, end: End, offset: int, flags: int, payload: bytes = b"") -> None:
        """Send a segment now; it arrives if the plan does not lose it. A client's SYN does not: `accept` follows it."""
        other = self.server if end.client else self.client
        ack = (other.first + end.expected) % 2**32 if flags & ACK else 0
        window = 0 if flags & RST else WINDOW - end.unread
        options = b"\x02\x04" + end.mss.to_bytes(2, "big") if flags & SYN else b""
        sent = end.free_at = max(self.now, end.free_at + GAP)
        segment = Segment(sent, end.client, (end.first + offset) % 2**32, ack, flags, window, payload, options)
        end.held = 0
        if end.client:
            self.seen.append(segment)
        if payload:
            end.copies[offset] += 1
            end.sent_at[offset] = (sent, offset + len(payload))
        number, copy = (offset - 1) // end.mss, end.copies[offset]
        if (payload and (end.client, number, copy) in self.plan.lost) or (flags & SYN and end.client):
            return
        arrival = end.last_arrival = max(sent + self.delay(), end.last_arrival + GAP)
        if payload and not end.client and copy == 1 and number in self.plan.overtaken:
            end.overtaken = (offset, segment)
            return
        self.after(arrival - self.now, lambda: self.arrive(other, offset, segment))
        if payload and end.overtaken:
            late, end.overtaken = end.overtaken, None
            end.last_arrival = arrival + GAP
            self.reordered.append((arrival + GAP, late[1].seq))
            self.after(arrival + GAP - self.now, lambda: self.arrive(other, *late))

    def pump(self, end: End) -> None:
        """Send what the windows allow."""
        while piece := end.piece():
            payload, last = piece
            self.emit(end, end.next, ACK | (PSH if last else 0), payload)
            end.next += len(payload)
            if end.timer == 0:
                self.restart_timer(end)
        length = len(end.stream) + 1
        if end.acked == end.next < length and end.timer == 0:
            self.restart_timer(end)  # a closed window is probed
        if end.closing and end.next == length:
            end.next += 1
            self.emit(end, length, FIN | ACK)

    def restart_timer(self, end: End) -> None:
        end.timer = mark = next(self._count) + 1
        self.after((LEAST_TIMEOUT + self.plan.rtt) * end.backoff, lambda: self.expire(end, mark))

    def expire(self, end: End, mark: int) -> None:
        if end.timer != mark:
            return
        end.backoff *= 2
        if end.acked == end.next:  # nothing in flight: ask a closed window with an old octet's number
            self.emit(end, end.next - 1, ACK)
        else:
            end.lose("timeout")
            self.resend(end)
        self.restart_timer(end)

    def resend(self, end: End) -> None:
        offset = end.acked
        piece = end.stream[offset - 1 : min(offset - 1 + end.mss, end.next - 1)]
        self.emit(end, offset, ACK | PSH, piece)
        if end.client:
            self.retransmissions.append((end.free_at, (end.first + offset) % 2**32, end.cause))

    # Receiving

    def arrive(self, end: End, offset: int, segment: Segment) -> None:
        if end.client:
            self.seen.append(replace(segment, time=self.now))
            if self.server.copies[offset] > 1 and segment.payload and end.early:
                self.holes.append((self.now, segment.seq))
        if segment.flags & RST:
            end.alive = False
        if not end.alive:
            return
        if segment.flags & SYN:
            self.established()
            return
        self.acknowledged(end, segment)
        if segment.payload or segment.flags & FIN:
            self.received(end, offset, len(segment.payload) or 1, segment.flags)
        elif (segment.seq - (self.server if end.client else self.client).first) % 2**32 < end.expected:
            self.emit(end, end.next, ACK)  # a probe

    def acknowledged(self, end: End, segment: Segment) -> None:
        ack = (segment.ack - end.first) % 2**32
        outstanding = end.next > end.acked
        if ack > end.acked:
            self._advance(end, ack)
        elif outstanding and not segment.payload and segment.window == end.peer_window and not segment.flags & FIN:
            self.duplicates += 1
            end.duplicates += 1
            if end.duplicates == 3 and not end.recover:
                end.lose("fast")
                self.resend(end)
                self.restart_timer(end)
        if segment.window > end.peer_window and not outstanding:
            end.timer, end.backoff = 0, 1
        end.peer_window = segment.window
        self.pump(end)

    def _advance(self, end: End, ack: int) -> None:
        covered, partial = end.advance(ack)
        if end.client:
            self.samples += [self.now - sent for sent in covered]
        if partial:
            self.resend(end)
        if end.acked < min(end.next, len(end.stream) + 1):
            self.restart_timer(end)

    def received(self, end: End, offset: int, size: int, flags: int) -> None:
        """Every second segment is acknowledged, at once the last of a flight and all around a hole."""
        before = end.expected
        gained = end.take(offset, size)
        self._stall(end, gained)
        if flags & FIN and not end.closing:
            self.after(40, lambda: self.close(end))
        elif end.held > 1 or flags & (PSH | FIN) or gained != size or end.early:
            self.emit(end, end.next, ACK)
        self._application(end, before)

    def _stall(self, end: End, size: int) -> None:
        """The server's application stops reading once, for a time: what arrives fills its buffer."""
        if size and self.plan.stall and not end.client and not self.read_on and end.expected > self.plan.stall[0]:
            if end.unread == 0:
                self.after(self.plan.stall[1], self._read_on)
            end.unread += size

    def _read_on(self) -> None:
        self.read_on, self.server.unread = True, 0
        self.emit(self.server, self.server.next, ACK)

    def _application(self, end: End, before: int) -> None:
        if not end.client and before < self.request_end <= end.expected:
            self.after(self.waiting[0].think, self._write_response)
        if end.client and before < self.response_end <= end.expected:
            self.waiting.popleft()
            self.request()


def play(plan: Plan, draw: Random) -> tuple[list[Segment], Facts]:
    """The segments of the planned connection that a tap beside the client sees, by time, and what happened."""
    run = _Play(plan, draw)
    run.run()
    seen = sorted(run.seen, key=lambda segment: segment.time)
    facts = Facts(
        handshake_rtt=run.handshake,
        syn_retransmissions=run.syns - 1,
        retransmissions=run.retransmissions,
        lost_before_tap=run.holes,
        out_of_order=run.reordered,
        duplicate_acks=run.duplicates,
        zero_windows=sum(segment.window == 0 and not segment.flags & RST for segment in seen),
        rtt_samples=run.samples,
        sent=max(0, min(run.server.expected, len(run.client.stream) + 1) - 1),
        received=max(0, min(run.client.expected, len(run.server.stream) + 1) - 1),
    )
    return seen, facts
