"""Builds `kpi.csv`: a week of 12 cells (columns: cell_counters.py) with planted events.

Six cells have one event each: a degraded radio channel; a sleeping cell (in service, but without traffic); an outage
(out of service, which a search for sleeping cells must not report); a latency spike of one period; throughput in
kbit/s; missing rows. At all other times, some single rows lack a value, are duplicated or are left out.
"""

from collections.abc import Sequence
from random import Random
from statistics import median

from testbed.measurements.arithmetic import (
    compute_mean,
    compute_percent,
    compute_percentile,
    compute_total,
    list_present,
)
from testbed.measurements.cell_counters import COLUMNS, PERIOD, PERIODS, WEEKEND, simulate_week
from testbed.measurements.tables import CELLS, MONDAY, MeasurementTable, TableRow, format_time, round_rows

THROUGHPUT = ("dl_throughput_mbps", "ul_throughput_mbps", "throughput_mbps")
UNMEASURED = ("latency_ms", "jitter_ms", "packet_loss_pct", "cqi")
TRAFFIC = (*THROUGHPUT, "dl_volume_mb", "ul_volume_mb", "dl_prb_util_pct")
COUNTS = ("connected_users", "rrc_attempts", "rrc_successes", "ho_attempts", "ho_successes", "drops")
IMPOSSIBLE_MBPS = 1000
"""More than any cell of this network can carry: a greater throughput is in kbit/s."""
SINGLE_ROWS = {"missing_latency": 40, "missing_throughput": 12, "duplicates": 20, "left_out": 5}
# Kind -> first day it may begin on, number of such days, first period of the day it may begin in, number of such
# periods, length in periods, metric, rule. Events that show best in traffic begin on workdays, in daytime.
EVENTS = {
    "degraded": (1, 3, 36, 12, 24, "cqi", "cqi < 6"),
    "sleeping": (0, 5, 32, 24, 32, "dl_volume_mb", "dl_volume_mb == 0 and availability_pct == 100"),
    "outage": (0, 7, 4, 12, 8, "availability_pct", "availability_pct == 0"),
    "spike": (1, 6, 0, 96, 1, "latency_ms", "latency_ms > 200"),
    "unit_glitch": (0, 5, 36, 32, 6, "throughput_mbps", "throughput_mbps > 1000"),
    "missing_rows": (0, 7, 0, 80, 10, "timestamp", "no row of the cell for 10 periods in a row"),
}
CLEAN = (
    "Exact duplicates are dropped, throughputs above 1000 Mbit/s are kbit/s and divided by 1000, "
    "empty fields are left out of means and percentiles, missing rows are not filled in."
)
RAW = "The file as it is: duplicates counted, kbit/s taken for Mbit/s, empty fields left out of means and percentiles."


def build_kpi(seed: int) -> MeasurementTable:
    rng = Random(f"kpi-{seed}")
    rows = [row for cell in CELLS for row in simulate_week(rng, cell)]
    planted = [
        _plant_event(rng, kind, cell, rows) for kind, cell in zip(EVENTS, rng.sample(CELLS, len(EVENTS)), strict=True)
    ]
    plain = [row for row in rows if not any(_is_within(event, row) for event in planted)]
    rng.shuffle(plain)
    chosen = {kind: [plain.pop() for _ in range(count)] for kind, count in SINGLE_ROWS.items()}
    for row in chosen["missing_latency"]:
        row["latency_ms"] = None
    for row in chosen["missing_throughput"]:
        row.update(dict.fromkeys(THROUGHPUT))
    gone = {_get_key(row) for row in chosen["left_out"]}
    gone |= {_get_key(row) for row in rows if _is_within(planted[-1], row)}
    doubled = {_get_key(row) for row in chosen["duplicates"]}
    rows = [row for row in rows if _get_key(row) not in gone]
    rows += [row for row in rows if _get_key(row) in doubled]
    rows = round_rows(COLUMNS, sorted(rows, key=_get_key))
    clean = _clean_rows(rows)
    facts = {
        "planted": planted,
        "planted_rows": {
            kind: [list(_get_key(row)) for row in sorted(some, key=_get_key)] for kind, some in chosen.items()
        },
        "raw": {"rule": RAW, "rows": len(rows), "cells": _compute_cell_figures(rows)},
        "clean": {
            "rule": CLEAN,
            "rows": len(clean),
            "cells": _compute_cell_figures(clean),
            **_compute_network_figures(clean),
        },
    }
    return MeasurementTable(COLUMNS, rows, facts)


def _plant_event(rng: Random, kind: str, cell: str, rows: Sequence[TableRow]) -> TableRow:
    """Disturb the cell's rows. Returns the event for the ground truth, with the metric's median with and without it."""
    day, days, slot, slots, periods, metric, rule = EVENTS[kind]
    start = MONDAY + ((day + rng.randrange(days)) * 96 + slot + rng.randrange(slots)) * PERIOD
    event: TableRow = {
        "kind": kind,
        "cell": cell,
        "start": format_time(start),
        "end": format_time(start + periods * PERIOD),
        "periods": periods,
        "metric": metric,
        "rule": rule,
    }
    during = [row for row in rows if _is_within(event, row)]
    shown = "dl_throughput_mbps" if kind == "degraded" else metric
    before = [row[shown] for row in during]
    for row in during:
        _disturb_row(rng, kind, row)
    if kind != "missing_rows":
        event["size"] = {"metric": shown, "would_be": round(median(before), 3)}
        event["size"]["is"] = round(median(row[shown] for row in during), 3)
    return event


def _disturb_row(rng: Random, kind: str, row: TableRow) -> None:
    if kind == "degraded":
        row |= {name: row[name] * 0.22 for name in TRAFFIC}
        row |= {"dl_prb_util_pct": rng.uniform(88, 97), "cqi": rng.uniform(3, 4.5), "latency_ms": rng.uniform(60, 90)}
        row |= {"jitter_ms": rng.uniform(8, 14), "packet_loss_pct": rng.uniform(2, 4)}
        row |= {"drops": row["drops"] + rng.randrange(5, 12), "ho_successes": round(row["ho_attempts"] * 0.8)}
    elif kind in ("sleeping", "outage"):
        row |= dict.fromkeys(UNMEASURED) | dict.fromkeys(TRAFFIC, 0.0) | dict.fromkeys(COUNTS, 0)
        row |= {"energy_kwh": 0.15} if kind == "sleeping" else {"energy_kwh": 0.02, "availability_pct": 0.0}
    elif kind == "spike":
        row["latency_ms"] = rng.uniform(400, 600)
    elif kind == "unit_glitch":
        row |= {name: row[name] * 1000 for name in THROUGHPUT}


def _is_within(event: TableRow, row: TableRow) -> bool:
    return bool(row["cell"] == event["cell"] and event["start"] <= row["timestamp"] < event["end"])


def _get_key(row: TableRow) -> tuple[str, str]:
    return row["timestamp"], row["cell"]


def _clean_rows(rows: Sequence[TableRow]) -> list[TableRow]:
    """The rows, cleaned by the rule in CLEAN."""
    clean = [dict(row) for row in {_get_key(row): row for row in rows}.values()]
    for row in clean:
        if (row["throughput_mbps"] or 0) > IMPOSSIBLE_MBPS:
            row |= {name: row[name] / 1000 for name in THROUGHPUT}
    return clean


def _compute_cell_figures(rows: Sequence[TableRow]) -> dict[str, TableRow]:
    return {cell: _compute_figures([row for row in rows if row["cell"] == cell]) for cell in CELLS}


def _compute_figures(rows: Sequence[TableRow]) -> TableRow:
    """A cell's figures. Percentages are ratios of sums, not means of ratios."""
    sums = {name: sum(list_present(rows, name)) for name in COUNTS[1:]}
    latency = list_present(rows, "latency_ms")
    return {
        "rows": len(rows),
        "latency_samples": len(latency),
        "mean_latency_ms": compute_mean(latency),
        "median_latency_ms": compute_percentile(latency, 0.5),
        "p95_latency_ms": compute_percentile(latency, 0.95),
        "max_latency_ms": max(latency),
        "mean_throughput_mbps": compute_mean(list_present(rows, "throughput_mbps")),
        "mean_dl_throughput_mbps": compute_mean(list_present(rows, "dl_throughput_mbps")),
        "mean_dl_prb_util_pct": compute_mean(list_present(rows, "dl_prb_util_pct")),
        "rrc_success_pct": compute_percent(sums["rrc_successes"], sums["rrc_attempts"]),
        "ho_success_pct": compute_percent(sums["ho_successes"], sums["ho_attempts"]),
        "drops": sums["drops"],
        "dl_volume_mb": compute_total(list_present(rows, "dl_volume_mb")),
        "energy_kwh": compute_total(list_present(rows, "energy_kwh")),
    }


def _compute_network_figures(rows: Sequence[TableRow]) -> TableRow:
    """The cells' busy hours, the network's quiet hours, and the throughput at the weekend and on workdays."""
    hours: dict[str, list[float]] = {}
    volumes: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        hours.setdefault(row["timestamp"][:13], []).extend(list_present([row], "throughput_mbps"))
        volumes.setdefault((row["cell"], row["timestamp"][:13]), []).append(row["dl_volume_mb"])
    saturday = format_time(MONDAY + 5 * 96 * PERIOD)
    weekend = compute_mean(list_present([row for row in rows if row["timestamp"] >= saturday], "throughput_mbps"))
    workdays = compute_mean(list_present([row for row in rows if row["timestamp"] < saturday], "throughput_mbps"))
    return {
        "busy_hour": {cell: _find_busy_hour(cell, volumes) for cell in CELLS},
        "busy_hour_rule": "Clock hour of the largest dl_volume_mb, averaged over the days; only hours of four rows.",
        "hours_below_5_mbps": [
            f"{hour}:00:00" for hour, values in sorted(hours.items()) if (compute_mean(values) or 0) < 5
        ],
        "hours_below_5_mbps_rule": "Mean throughput_mbps of all rows of the hour below 5.",
        "weekend_mean_throughput_mbps": weekend,
        "workday_mean_throughput_mbps": workdays,
        "weekend_factor": WEEKEND,
    }


def _find_busy_hour(cell: str, volumes: dict[tuple[str, str], list[float]]) -> int:
    days: dict[int, list[float]] = {}
    for (name, hour), values in volumes.items():
        if name == cell and len(values) == PERIODS // (7 * 24):
            days.setdefault(int(hour[-2:]), []).append(compute_total(values))
    return max(days, key=lambda hour: compute_mean(days[hour]) or 0)
