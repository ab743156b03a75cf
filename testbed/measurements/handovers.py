"""Builds `handovers.csv`: the handovers of 40 UEs in one hour, ordered by time.

timestamp      UTC, milliseconds
ue             `u01` to `u40`
source, target cell that the UE leaves, and cell that it is handed over to
cause          NGAP/XnAP radio network cause (TS 38.413, 9.3.1.2): handover-desirable-for-radio-reason,
               time-critical-handover, reduce-load-in-serving-cell
result         success, too_late or too_early: the failures of TS 38.300, 15.5.2. After a handover that is too late the
               UE re-establishes its connection in the target, after one that is too early in the source
duration_ms    from the command to the completion or the re-establishment, ms
"""

from collections.abc import Sequence
from random import Random

from testbed.measurements.arithmetic import compute_mean, compute_percent, compute_percentile
from testbed.measurements.tables import CELLS, HOUR, MeasurementTable, TableRow, add_seconds, format_time, round_rows

COLUMNS = {"timestamp": 0, "ue": 0, "source": 0, "target": 0, "cause": 0, "result": 0, "duration_ms": 1}
SECONDS = 3600.0
UES = [f"u{number:02d}" for number in range(1, 41)]
# Sectors of one site are neighbours of each other, and so are these sectors of facing sites.
FACING = (("A1", "B2"), ("A2", "D3"), ("B3", "C1"), ("C2", "D1"), ("A1", "D3"), ("B2", "C3"))
CAUSES = (
    ("handover-desirable-for-radio-reason",) * 7 + ("time-critical-handover",) * 2 + ("reduce-load-in-serving-cell",)
)
RESULTS = ("success", "too_late", "too_early")
LEAST_STAY = 12.0
"""Seconds that a UE stays in a cell at least, except in a planted ping-pong."""
PING_PONG_SHARE, TOO_LATE_SHARE, FAILURE_SHARE = 0.6, 0.5, 0.02
PING_PONG_RULE = "The UE returns within 5 s to the cell it has just left (its previous row is the opposite handover)."
TOO_LATE_RULE = "Of the relation's handovers (at least 10) 20 % or more are too_late."

CellPair = tuple[str, str]


def build_handovers(seed: int) -> MeasurementTable:
    rng = Random(f"handovers-{seed}")
    relations = [(source, target) for source in CELLS for target in list_neighbours(source)]
    ping_pong, too_late = rng.sample(relations, 2)
    while too_late == ping_pong[::-1]:
        too_late = rng.choice([relation for relation in relations if relation != ping_pong])
    failed: set[CellPair] = set()
    rows = [row for ue in UES for row in _simulate_journey(rng, ue, ping_pong, too_late, failed)]
    rows.sort(key=lambda row: (row["second"], row["ue"]))
    returns = [row for row in rows if row["return"]]
    rows = round_rows(COLUMNS, [row | {"timestamp": _format_second(row["second"])} for row in rows])
    late = [row for row in rows if (row["source"], row["target"]) == too_late]
    facts = {
        "planted": [
            {"kind": "ping_pong", "source": ping_pong[0], "target": ping_pong[1], "count": len(returns),
             "rule": PING_PONG_RULE,
             "returns": [[_format_second(row["second"]), row["ue"]] for row in returns]},
            {"kind": "too_late", "source": too_late[0], "target": too_late[1], "attempts": len(late),
             "failures": sum(row["result"] == "too_late" for row in late), "rule": TOO_LATE_RULE},
        ],
        "results": {result: sum(row["result"] == result for row in rows) for result in RESULTS},
        "success_pct": compute_percent(sum(row["result"] == "success" for row in rows), len(rows)),
        "duration_rule": "Of successful handovers, ms; the percentile with linear interpolation.",
        **_summarise_durations([row["duration_ms"] for row in rows if row["result"] == "success"]),
        "attempts_by_source": {cell: sum(row["source"] == cell for row in rows) for cell in CELLS},
        "attempts_by_cause": {cause: sum(row["cause"] == cause for row in rows) for cause in sorted(set(CAUSES))},
    }  # fmt: skip
    return MeasurementTable(COLUMNS, rows, facts)


def list_neighbours(cell: str) -> list[str]:
    """The cells that `cell` may hand over to, sorted."""
    facing = [pair[1 - pair.index(cell)] for pair in FACING if cell in pair]
    return sorted([other for other in CELLS if other[0] == cell[0] and other != cell] + facing)


def _simulate_journey(
    rng: Random, ue: str, ping_pong: CellPair, too_late: CellPair, failed: set[CellPair]
) -> list[TableRow]:
    """The UE's handovers. Each pair of cells may have one random failure: `failed` holds the pairs that had it."""
    cell, second, rows = rng.choice(CELLS), rng.uniform(0, 60), []
    while second < SECONDS - 10:
        target, result = rng.choice(list_neighbours(cell)), "success"
        relation = cell, target
        if relation == too_late and rng.random() < TOO_LATE_SHARE:
            result = "too_late"
        elif relation not in (too_late, ping_pong) and relation not in failed and rng.random() < FAILURE_SHARE:
            result = rng.choice(("too_late", "too_early"))
            failed.add(relation)
        rows.append(_build_row(rng, ue, second, relation, result))
        if relation == ping_pong and rng.random() < PING_PONG_SHARE:
            second += rng.uniform(1.2, 4.0)
            rows.append(_build_row(rng, ue, second, (target, cell), "success") | {"return": True})
        elif result != "too_early":
            cell = target
        second += rng.uniform(LEAST_STAY, 150)
    return rows


def _build_row(rng: Random, ue: str, second: float, relation: CellPair, result: str) -> TableRow:
    duration = rng.uniform(28, 70) if result == "success" else rng.uniform(300, 1500)
    source, target = relation
    row = {"second": second, "return": False, "ue": ue, "source": source, "target": target}
    return row | {"cause": rng.choice(CAUSES), "result": result, "duration_ms": duration}


def _format_second(second: float) -> str:
    return format_time(add_seconds(HOUR, second), "milliseconds")


def _summarise_durations(values: Sequence[float]) -> TableRow:
    return {"mean_duration_ms": compute_mean(values), "p95_duration_ms": compute_percentile(values, 0.95)}
