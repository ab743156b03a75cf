"""Builds `slices.csv`: SLA targets and measurements of three network slices, one row per slice and hour, for a week.

timestamp        start of the hour, UTC
slice, snssai    eMBB 1-000001, URLLC 2-000001, mMTC 3-000001 (SST of TS 23.501, table 5.15.2.2-1: 3 is MIoT)
ues              registered UEs
latency_ms, sla_latency_ms                     95th percentile in the hour, ms; the target is a maximum
packet_loss_pct, sla_packet_loss_pct           %; the target is a maximum
dl_throughput_mbps, sla_dl_throughput_mbps     per UE, Mbit/s; the target is a minimum
availability_pct, sla_availability_pct         %; the target is a minimum
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from testbed.measurements.arithmetic import clamp, compute_mean, compute_percent, draw_noise, interpolate
from testbed.measurements.tables import MONDAY, MeasurementTable, TableRow, format_time, round_rows

METRICS = {"latency_ms": 2, "packet_loss_pct": 5, "dl_throughput_mbps": 3, "availability_pct": 4}
AT_MOST = ("latency_ms", "packet_loss_pct")
COLUMNS = {"timestamp": 0, "slice": 0, "snssai": 0, "ues": 0} | {
    name: decimals
    for metric, decimals in METRICS.items()
    for name, decimals in ((metric, decimals), (f"sla_{metric}", decimals))
}
HOURS = 7 * 24
DAY = ((0, 0.25), (4, 0.1), (8, 0.6), (12, 0.75), (19, 1.0), (24, 0.25))
RULE = "latency_ms or packet_loss_pct above, or dl_throughput_mbps or availability_pct below its sla_ column."


@dataclass(frozen=True)
class NetworkSlice:
    """A slice's targets, and its planted violation."""

    snssai: str
    ues: int
    targets: dict[str, float]
    metric: str
    """The metric that violates its target."""
    violated: tuple[float, float]
    """Range of the metric's values during the violation."""
    hours: int
    """Length of the violation."""


SLICES = {
    "eMBB": NetworkSlice("1-000001", 1800,
                  {"latency_ms": 50.0, "packet_loss_pct": 0.5, "dl_throughput_mbps": 25.0, "availability_pct": 99.5},
                  "dl_throughput_mbps", (9.0, 18.0), 5),
    "URLLC": NetworkSlice("2-000001", 60,
                   {"latency_ms": 10.0, "packet_loss_pct": 0.01, "dl_throughput_mbps": 2.0, "availability_pct": 99.99},
                   "latency_ms", (13.0, 25.0), 6),
    "mMTC": NetworkSlice("3-000001", 9000,
                  {"latency_ms": 1000.0, "packet_loss_pct": 1.0, "dl_throughput_mbps": 0.05, "availability_pct": 99.0},
                  "availability_pct", (90.0, 97.0), 3),
}  # fmt: skip


def build_slices(seed: int) -> MeasurementTable:
    rng = Random(f"slices-{seed}")
    rows: list[TableRow] = []
    starts = {name: rng.randrange(8, HOURS - 12) for name in SLICES}
    for hour in range(HOURS):
        for name, one in SLICES.items():
            row = _simulate_hour(rng, name, one, hour)
            if starts[name] <= hour < starts[name] + one.hours:
                row[one.metric] = rng.uniform(*one.violated)
            rows.append(row)
    rows = round_rows(COLUMNS, rows)
    planted = []
    for name, one in SLICES.items():
        hit = [row[one.metric] for row in rows if row["slice"] == name and _is_violated(row, one.metric)]
        planted.append({
            "kind": "sla_violation", "slice": name, "metric": one.metric, "start": _format_hour(starts[name]),
            "end": _format_hour(starts[name] + one.hours), "hours": one.hours, "target": one.targets[one.metric],
            "mean": compute_mean(hit), "rule": RULE,
        })  # fmt: skip
    figures = {name: _compute_figures([row for row in rows if row["slice"] == name]) for name in SLICES}
    return MeasurementTable(COLUMNS, rows, {"planted": planted, "slices": figures})


def _simulate_hour(rng: Random, name: str, one: NetworkSlice, hour: int) -> TableRow:
    """An hour within the SLA. Load uses up to about two thirds of the margin that the targets leave."""
    load = clamp(interpolate(DAY, hour % 24) + draw_noise(rng, 0.04), 0.05, 1.0)
    row: TableRow = {
        "timestamp": _format_hour(hour),
        "slice": name,
        "snssai": one.snssai,
        "ues": round(one.ues * (0.5 + load / 2)),
    }
    row |= {f"sla_{metric}": target for metric, target in one.targets.items()}
    row["latency_ms"] = one.targets["latency_ms"] * (0.35 + 0.4 * load + draw_noise(rng, 0.03))
    row["packet_loss_pct"] = one.targets["packet_loss_pct"] * (0.1 + 0.5 * load * rng.random())
    row["dl_throughput_mbps"] = one.targets["dl_throughput_mbps"] * (2.2 - 0.9 * load + draw_noise(rng, 0.05))
    row["availability_pct"] = 100 - (100 - one.targets["availability_pct"]) * 0.5 * rng.random()
    return row


def _format_hour(hour: int) -> str:
    return format_time(MONDAY + timedelta(hours=hour))


def _is_violated(row: TableRow, metric: str) -> bool:
    over = row[metric] - row[f"sla_{metric}"]
    return bool(over > 0 if metric in AT_MOST else over < 0)


def _compute_figures(rows: Sequence[TableRow]) -> TableRow:
    broken = [row for row in rows if any(_is_violated(row, metric) for metric in METRICS)]
    return {
        "hours": len(rows),
        "hours_in_violation": len(broken),
        "compliance_pct": compute_percent(len(rows) - len(broken), len(rows)),
        "violations": {metric: sum(_is_violated(row, metric) for row in rows) for metric in METRICS},
        **{f"mean_{metric}": compute_mean([row[metric] for row in rows]) for metric in METRICS},
    }
