"""Simulates a TCP connection event by event, as a tap beside the client sees it, and notes what happens in it.

Two ends exchange requests and responses over a path with a delay. The plan names segments that are lost or overtaken,
and the senders recover as NewReno does (RFC 5681, RFC 6582, RFC 6298), after three duplicate ACKs or a timeout. So
every retransmission in the capture has its cause in the packets before it. SACK and window scaling are not offered.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random

from testbed.captures.connection_plans import ConnectionFacts, ConnectionPlan, TcpSegment
from testbed.captures.frames import ACK, FIN, PSH, RST, SYN
from testbed.captures.tap import MILLI, SECOND
from testbed.captures.tcp_end import FIRST_FLIGHT, WINDOW, TcpEnd

GAP = 12
"""Microseconds between two segments from one sender: 1,500 octets at 1 Gbit/s."""
LEAST_TIMEOUT = 200 * MILLI
FIRST_TIMEOUT = SECOND


class _ConnectionSimulation:
    """One connection: a queue of events, which may cause further events, and what a tap beside the client saw."""

    def __init__(self, plan: ConnectionPlan, draw: Random) -> None:
        self.plan, self.draw, self.now = plan, draw, plan.start
        self.client = TcpEnd(True, draw.getrandbits(32), plan.mss, FIRST_FLIGHT * plan.mss)
        self.server = TcpEnd(False, draw.getrandbits(32), plan.mss, FIRST_FLIGHT * plan.mss)
        self.seen: list[TcpSegment] = []
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

    def schedule(self, delay: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._count), action))

    def run(self) -> None:
        self.schedule(0, self.start_handshake)
        while self._events:
            self.now, _, action = heapq.heappop(self._events)
            action()

    # Opening and closing

    def start_handshake(self) -> None:
        for copy in range(self.syns):  # the first timeout of 1 s doubles (RFC 6298 section 5.5)
            self.schedule(FIRST_TIMEOUT * (2**copy - 1), lambda: self.send_segment(self.client, 0, SYN))
        if self.plan.ending == "refused":
            ack = (self.client.first + 1) % 2**32
            self.seen.append(TcpSegment(self.now + self.plan.rtt, False, 0, ack, RST | ACK, 0))
        elif self.plan.ending != "unanswered":
            self.schedule(FIRST_TIMEOUT * (2**self.plan.lost_syns - 1) + self.draw_delay(), self.accept_connection)

    def accept_connection(self) -> None:
        self.server.expected = 1
        self.send_segment(self.server, 0, SYN | ACK)

    def finish_handshake(self) -> None:
        if self.plan.lost_syns == 0:
            self.handshake = self.now - self.plan.start
        self.client.expected = 1
        self.schedule(30, lambda: self.send_segment(self.client, 1, ACK))
        self.schedule(60, self.start_request)

    def start_request(self) -> None:
        if self.waiting:
            self.schedule(self.waiting[0].pause, self._write_request)
        elif self.plan.ending == "fin":
            self.schedule(MILLI, lambda: self.close_end(self.client))
        elif self.plan.ending == "rst":
            self.schedule(MILLI, self.abort_connection)

    def _write_request(self) -> None:
        self.request_end += len(self.waiting[0].request)
        self.response_end += len(self.waiting[0].response)
        self.client.stream += self.waiting[0].request
        self.send_data(self.client)

    def _write_response(self) -> None:
        self.server.stream += self.waiting[0].response
        self.send_data(self.server)

    def close_end(self, end: TcpEnd) -> None:
        end.closing = True
        self.send_data(end)

    def abort_connection(self) -> None:
        self.client.alive = False
        self.send_segment(self.client, self.client.next, RST | ACK)

    # Sending

    def draw_delay(self) -> int:
        return self.plan.rtt // 2 + self.draw.randint(0, self.plan.jitter)

    def send_segment(self, end: TcpEnd, offset: int, flags: int, payload: bytes = b"") -> None:
        """Send a segment now; it arrives unless the plan loses it.

        A client's SYN never arrives here: `start_handshake` schedules what follows it.
        """
        other = self.server if end.client else self.client
        ack = (other.first + end.expected) % 2**32 if flags & ACK else 0
        window = 0 if flags & RST else WINDOW - end.unread
        options = b"\x02\x04" + end.mss.to_bytes(2, "big") if flags & SYN else b""
        sent = end.free_at = max(self.now, end.free_at + GAP)
        segment = TcpSegment(sent, end.client, (end.first + offset) % 2**32, ack, flags, window, payload, options)
        end.held = 0
        if end.client:
            self.seen.append(segment)
        if payload:
            end.copies[offset] += 1
            end.sent_at[offset] = (sent, offset + len(payload))
        number, copy = (offset - 1) // end.mss, end.copies[offset]
        if (payload and (end.client, number, copy) in self.plan.lost) or (flags & SYN and end.client):
            return
        arrival = end.last_arrival = max(sent + self.draw_delay(), end.last_arrival + GAP)
        if payload and not end.client and copy == 1 and number in self.plan.overtaken:
            end.overtaken = (offset, segment)
            return
        self.schedule(arrival - self.now, lambda: self.receive_segment(other, offset, segment))
        if payload and end.overtaken:
            late, end.overtaken = end.overtaken, None
            end.last_arrival = arrival + GAP
            self.reordered.append((arrival + GAP, late[1].seq))
            self.schedule(arrival + GAP - self.now, lambda: self.receive_segment(other, *late))

    def send_data(self, end: TcpEnd) -> None:
        """Send all data that the windows allow, and the FIN after the last data of a closing end."""
        while piece := end.find_sendable_data():
            payload, last = piece
            self.send_segment(end, end.next, ACK | (PSH if last else 0), payload)
            end.next += len(payload)
            if end.timer == 0:
                self.restart_timer(end)
        length = len(end.stream) + 1
        if end.acked == end.next < length and end.timer == 0:
            self.restart_timer(end)  # to probe the closed window
        if end.closing and end.next == length:
            end.next += 1
            self.send_segment(end, length, FIN | ACK)

    def restart_timer(self, end: TcpEnd) -> None:
        end.timer = mark = next(self._count) + 1
        self.schedule((LEAST_TIMEOUT + self.plan.rtt) * end.backoff, lambda: self.expire_timer(end, mark))

    def expire_timer(self, end: TcpEnd, mark: int) -> None:
        if end.timer != mark:
            return
        end.backoff *= 2
        if end.acked == end.next:  # nothing in flight: probe the closed window with an old sequence number
            self.send_segment(end, end.next - 1, ACK)
        else:
            end.begin_recovery("timeout")
            self.resend_segment(end)
        self.restart_timer(end)

    def resend_segment(self, end: TcpEnd) -> None:
        offset = end.acked
        piece = end.stream[offset - 1 : min(offset - 1 + end.mss, end.next - 1)]
        self.send_segment(end, offset, ACK | PSH, piece)
        if end.client:
            self.retransmissions.append((end.free_at, (end.first + offset) % 2**32, end.cause))

    # Receiving

    def receive_segment(self, end: TcpEnd, offset: int, segment: TcpSegment) -> None:
        if end.client:
            self.seen.append(replace(segment, time=self.now))
            if self.server.copies[offset] > 1 and segment.payload and end.early:
                self.holes.append((self.now, segment.seq))
        if segment.flags & RST:
            end.alive = False
        if not end.alive:
            return
        if segment.flags & SYN:
            self.finish_handshake()
            return
        self.process_ack(end, segment)
        if segment.payload or segment.flags & FIN:
            self.process_data(end, offset, len(segment.payload) or 1, segment.flags)
        elif (segment.seq - (self.server if end.client else self.client).first) % 2**32 < end.expected:
            self.send_segment(end, end.next, ACK)  # answer a probe

    def process_ack(self, end: TcpEnd, segment: TcpSegment) -> None:
        ack = (segment.ack - end.first) % 2**32
        outstanding = end.next > end.acked
        if ack > end.acked:
            self._process_new_ack(end, ack)
        elif outstanding and not segment.payload and segment.window == end.peer_window and not segment.flags & FIN:
            self.duplicates += 1
            end.duplicates += 1
            if end.duplicates == 3 and not end.recover:
                end.begin_recovery("fast")
                self.resend_segment(end)
                self.restart_timer(end)
        if segment.window > end.peer_window and not outstanding:
            end.timer, end.backoff = 0, 1
        end.peer_window = segment.window
        self.send_data(end)

    def _process_new_ack(self, end: TcpEnd, ack: int) -> None:
        covered, partial = end.acknowledge_data(ack)
        if end.client:
            self.samples += [self.now - sent for sent in covered]
        if partial:
            self.resend_segment(end)
        if end.acked < min(end.next, len(end.stream) + 1):
            self.restart_timer(end)

    def process_data(self, end: TcpEnd, offset: int, size: int, flags: int) -> None:
        """Acknowledge every second segment; and at once the last of a flight, and those that open or fill a hole."""
        before = end.expected
        gained = end.receive_data(offset, size)
        self._stall_reading(end, gained)
        if flags & FIN and not end.closing:
            self.schedule(40, lambda: self.close_end(end))
        elif end.held > 1 or flags & (PSH | FIN) or gained != size or end.early:
            self.send_segment(end, end.next, ACK)
        self._notify_application(end, before)

    def _stall_reading(self, end: TcpEnd, size: int) -> None:
        """The server's application stops reading once, for a time; arriving data fills its buffer."""
        if size and self.plan.stall and not end.client and not self.read_on and end.expected > self.plan.stall[0]:
            if end.unread == 0:
                self.schedule(self.plan.stall[1], self._resume_reading)
            end.unread += size

    def _resume_reading(self) -> None:
        self.read_on, self.server.unread = True, 0
        self.send_segment(self.server, self.server.next, ACK)

    def _notify_application(self, end: TcpEnd, before: int) -> None:
        if not end.client and before < self.request_end <= end.expected:
            self.schedule(self.waiting[0].think, self._write_response)
        if end.client and before < self.response_end <= end.expected:
            self.waiting.popleft()
            self.start_request()


def simulate_connection(plan: ConnectionPlan, draw: Random) -> tuple[list[TcpSegment], ConnectionFacts]:
    """Simulate the planned connection. Returns the segments that a tap beside the client sees, ordered by time, and
    the facts that an analysis should find.
    """
    simulation = _ConnectionSimulation(plan, draw)
    simulation.run()
    seen = sorted(simulation.seen, key=lambda segment: segment.time)
    facts = ConnectionFacts(
        handshake_rtt=simulation.handshake,
        syn_retransmissions=simulation.syns - 1,
        retransmissions=simulation.retransmissions,
        lost_before_tap=simulation.holes,
        out_of_order=simulation.reordered,
        duplicate_acks=simulation.duplicates,
        zero_windows=sum(segment.window == 0 and not segment.flags & RST for segment in seen),
        rtt_samples=simulation.samples,
        sent=max(0, min(simulation.server.expected, len(simulation.client.stream) + 1) - 1),
        received=max(0, min(simulation.client.expected, len(simulation.server.stream) + 1) - 1),
    )
    return seen, facts
