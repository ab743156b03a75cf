"""Writes CSV files of 5G measurements and, beside each, its ground truth: what a correct analysis of it finds.

The modules beside this one build the files and document their columns. All files are UTF-8 with LF line ends and have a
header row, a fixed number of decimals per column, times in UTC, and empty fields for missing values. NAME.json holds
`measurements`, `seed`, `rows` (number of data rows), `planted` (each anomaly: kind, place, time, metric, size, and a
rule that finds it and nothing else), and figures with the rules by which they were computed. Periods are half-open:
`end` is the first moment after the period.
"""

from collections.abc import Callable
from pathlib import Path

from netllama.core.errors import StageError
from netllama.core.files import JsonObject, write_csv, write_json
from testbed.measurements.cost import build_cost
from testbed.measurements.handovers import build_handovers
from testbed.measurements.jitter import build_jitter
from testbed.measurements.kpi import build_kpi
from testbed.measurements.radio import build_drive_test, build_gps, build_radio
from testbed.measurements.sessions import build_sessions
from testbed.measurements.slices import build_slices
from testbed.measurements.tables import MeasurementTable

_FILES: dict[str, tuple[str, Callable[[int], MeasurementTable]]] = {
    "kpi": ("counters of 12 cells in 15-minute periods over a week", build_kpi),
    "radio": ("radio samples of six phones in one measurement car over an hour", build_radio),
    "gps": ("the positions of that car by another clock", build_gps),
    "drive_test": ("position, speed, serving cell and signal of that car, second by second", build_drive_test),
    "handovers": ("handovers of 40 UEs in an hour with cause, result and duration", build_handovers),
    "sessions": ("registration, connection and PDU session events of 40 UEs in two hours", build_sessions),
    "jitter": ("send and receive times of each packet of a voice and a video flow", build_jitter),
    "cost": ("cost, traffic, subscribers and revenue per postcode and month", build_cost),
    "slices": ("hourly SLA targets and measurements of three network slices over a week", build_slices),
}
MEASUREMENTS: dict[str, str] = {name: line for name, (line, _) in _FILES.items()}
"""Name -> what the file holds, in one line."""


def write_measurements(name: str, seed: int, folder: Path) -> None:
    """Write folder/NAME.csv and its ground truth folder/NAME.json. The same name and seed give the same bytes.

    StageError for an unknown name.
    """
    if name not in _FILES:
        raise StageError(f"unknown measurements {name!r}; choose one of {', '.join(_FILES)}")
    table = _FILES[name][1](seed)
    write_csv(folder / f"{name}.csv", [_format_row(table.columns, row) for row in table.rows])
    truth = {"measurements": name, "seed": seed, "rows": len(table.rows), **table.facts}
    write_json(folder / f"{name}.json", truth)


def _format_row(columns: dict[str, int], row: JsonObject) -> JsonObject:
    """The row as the file holds it: floats with their column's number of decimals, an empty text for None."""
    return {
        name: "" if row[name] is None else f"{row[name]:.{decimals}f}" if decimals else row[name]
        for name, decimals in columns.items()
    }
