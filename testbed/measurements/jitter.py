"""Builds `jitter.csv`: the packets of a voice and a video flow, each flow in the order it was sent.

    flow           voice (a packet every 20 ms) or video (every 12.5 ms)
    sequence       0, 1, ... in each flow
    send_time      UTC, microseconds; receive_time by the same clock, empty for a lost packet
    size_bytes     size of the IP packet, bytes

All times are whole microseconds, so delays are exact.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from testbed.measurements.arithmetic import compute_mean, compute_percent, compute_percentile
from testbed.measurements.tables import HOUR, MeasurementTable, TableRow, format_time

COLUMNS = {"flow": 0, "sequence": 0, "send_time": 0, "receive_time": 0, "size_bytes": 0}
PACKETS = 4000
LOSS_SHARE = 0.004
BURST, STEP_SECONDS, STEP_US, CLOSELY_US = 15, 6.0, 60_000, 500
JITTER_RULE = (
    "RFC 3550, 6.4.1: J += (|D| - J) / 16 from J = 0 over the packets received, in the order of arrival, D the change "
    "of the one-way delay; the value after the last packet."
)
DELAY_RULE = "One-way delay, receive_time - send_time, of received packets; percentiles with linear interpolation."
REORDERED_RULE = "Received packets whose sequence is smaller than the largest one received before (RFC 4737, 3)."


@dataclass(frozen=True)
class PacketFlow:
    """A flow's packets. Times in microseconds."""

    interval: int
    base: int
    """Minimum delay."""
    spread: int
    """Queues add up to 3 times this."""
    size: tuple[int, int]
    """Range of the packet sizes in bytes, end excluded."""


FLOWS = {"voice": PacketFlow(20_000, 18_000, 1_500, (72, 73)), "video": PacketFlow(12_500, 25_000, 1_000, (900, 1400))}


def build_jitter(seed: int) -> MeasurementTable:
    rng = Random(f"jitter-{seed}")
    burst = rng.randrange(500, 3000)
    step = rng.randrange(800, 2600)
    swapped = sorted(rng.sample([number for number in range(100, PACKETS - 100, 10)
                                 if not step - 20 < number < step + STEP_SECONDS * 80 + 20], 40))  # fmt: skip
    voice = _simulate_packets(rng, "voice", lost=range(burst, burst + BURST), late=(), raised=range(0))
    slow = range(step, step + int(STEP_SECONDS * 1e6) // FLOWS["video"].interval)
    video = _simulate_packets(rng, "video", lost=range(0), late=swapped, raised=slow)
    rows = voice + video
    first, last = _format_send_time("voice", burst), _format_send_time("voice", burst + BURST)
    begin, end = _format_send_time("video", slow.start), _format_send_time("video", slow.stop)
    facts = {
        "planted": [
            {"kind": "loss_burst", "flow": "voice", "start": first, "end": last, "first_sequence": burst, "rows": BURST,
             "rule": "10 or more packets lost in a row"},
            {"kind": "delay_step", "flow": "video", "start": begin, "end": end, "first_sequence": slow.start,
             "rows": len(slow), "metric": "delay", "size_ms": STEP_US / 1000, "rule": "delay above 80 ms"},
            {"kind": "reordering", "flow": "video", "sequences": swapped, "rows": len(swapped), "rule": REORDERED_RULE},
        ],
        "jitter_rule": JITTER_RULE,
        "delay_rule": DELAY_RULE,
        "flows": {name: _compute_figures([row for row in rows if row["flow"] == name]) for name in FLOWS},
    }  # fmt: skip
    return MeasurementTable(COLUMNS, [{name: row[name] for name in COLUMNS} for row in rows], facts)


def _simulate_packets(rng: Random, name: str, lost: range, late: Sequence[int], raised: range) -> list[TableRow]:
    """The flow's packets; `send` and `arrival` are microseconds. A `late` packet arrives after the packet behind it."""
    flow, rows, latest = FLOWS[name], [], 0
    for number in range(PACKETS):
        delay = flow.base + sum(rng.randrange(flow.spread) for _ in range(3))
        delay += STEP_US if number in raised else 0
        # One interval more than delays can differ: after the next packet, before the one after that.
        delay += flow.interval + 3 * flow.spread if number in late else 0
        chance = rng.random() < LOSS_SHARE and not any(abs(number - other) < 3 for other in late)
        gone = number in lost or (chance and number not in raised)
        send = number * flow.interval
        arrival = send + delay
        if number not in late and not gone:
            # Packets cannot overtake each other in an emptying queue; they follow closely.
            arrival = latest = max(arrival, latest + CLOSELY_US)
        row: dict[str, Any] = {
            "flow": name,
            "sequence": number,
            "send_time": _format_send_time(name, number),
            "send": send,
        }
        row |= {"arrival": None if gone else arrival, "size_bytes": rng.randrange(*flow.size)}
        row["receive_time"] = None if gone else _format_microseconds(arrival)
        rows.append(row)
    return rows


def _format_send_time(name: str, number: int) -> str:
    return _format_microseconds(number * FLOWS[name].interval)


def _format_microseconds(microseconds: int) -> str:
    return format_time(HOUR + timedelta(microseconds=microseconds), "microseconds")


def _compute_figures(rows: Sequence[TableRow]) -> TableRow:
    received = sorted(
        (row for row in rows if row["arrival"] is not None), key=lambda row: (row["arrival"], row["sequence"])
    )
    delays = [(row["arrival"] - row["send"]) / 1000 for row in received]
    changes = [abs(after - before) for before, after in itertools.pairwise(delays)]
    estimate = 0.0
    for change in changes:
        estimate += (change - estimate) / 16
    largest, reordered = -1, 0
    for row in received:
        reordered += row["sequence"] < largest
        largest = max(largest, row["sequence"])
    return {
        "sent": len(rows),
        "lost": len(rows) - len(received),
        "loss_pct": compute_percent(len(rows) - len(received), len(rows)),
        "reordered": reordered,
        "rfc3550_jitter_ms": round(estimate, 6),
        "mean_delay_change_ms": compute_mean(changes),
        "mean_delay_ms": compute_mean(delays),
        "p50_delay_ms": compute_percentile(delays, 0.5),
        "p95_delay_ms": compute_percentile(delays, 0.95),
        "max_delay_ms": max(delays),
    }
