"""Records planned TCP connections at a tap, and describes them for the ground truth."""

from typing import Any

from testbed.captures import frames
from testbed.captures.connection_plans import ConnectionFacts, ConnectionPlan, TcpSegment
from testbed.captures.tap import SECOND, Tap, to_seconds, to_unix_time
from testbed.captures.tcp_simulation import simulate_connection


def encode_segment(plan: ConnectionPlan, segment: TcpSegment) -> tuple[str, str, bytes]:
    """A segment's source and destination address, and the segment as bytes."""
    source, target, ports = plan.client, plan.server, plan.ports
    if not segment.outbound:
        source, target, ports = target, source, ports[::-1]
    fields = (segment.seq, segment.ack, segment.flags, segment.window, segment.payload, segment.options)
    return source, target, frames.encode_tcp(source, target, ports, *fields)


def record_connection(tap: Tap, plan: ConnectionPlan, tos: int = 0) -> dict[str, Any]:
    """Record the connection at the tap; `tos` is the octet with DSCP and ECN. Returns its entry in the ground truth."""
    segments, facts = simulate_connection(plan, tap.draw)
    for segment in segments:
        source, target, data = encode_segment(plan, segment)
        tap.record_ip(segment.time, source, target, frames.TCP, data, tos=tos)
    return describe_connection(plan, segments, facts)


def describe_connection(plan: ConnectionPlan, segments: list[TcpSegment], facts: ConnectionFacts) -> dict[str, Any]:
    """The connection's entry in the ground truth. RTTs and duration are seconds; start, end and events Unix times.

    The throughput, in bit/s, is the application data of both directions over the time from the first segment to the
    last.
    """
    duration = segments[-1].time - segments[0].time
    return {
        "client": plan.client,
        "client_port": plan.ports[0],
        "server": plan.server,
        "server_port": plan.ports[1],
        "start": to_unix_time(segments[0].time),
        "end": to_unix_time(segments[-1].time),
        "duration": to_seconds(duration),
        "packets": len(segments),
        "handshake_rtt": None if facts.handshake_rtt is None else to_seconds(facts.handshake_rtt),
        "syn_retransmissions": facts.syn_retransmissions,
        "retransmissions": [
            {"time": to_unix_time(at), "seq": seq, "cause": why} for at, seq, why in facts.retransmissions
        ],
        "lost_before_tap": [{"time": to_unix_time(at), "seq": seq} for at, seq in facts.lost_before_tap],
        "out_of_order": [{"time": to_unix_time(at), "seq": seq} for at, seq in facts.out_of_order],
        "duplicate_acks": facts.duplicate_acks,
        "zero_windows": facts.zero_windows,
        "rtt_samples": [to_seconds(sample) for sample in facts.rtt_samples],
        "bytes_to_server": facts.sent,
        "bytes_to_client": facts.received,
        "throughput": round((facts.sent + facts.received) * 8 * SECOND / duration) if duration else 0,
        "ending": plan.ending,
    }
