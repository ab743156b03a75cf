"""A name and a seed into a CSV file of 5G measurements and, beside it, what a correct analysis of it finds.

The files and their columns stand in the modules beside this one. Common to all: UTF-8, LF, a header row, fixed
decimals, times in UTC, an empty field where there is no value. NAME.json holds `measurements`, `seed`, `rows` (data
rows of the file), `planted` (each anomaly: kind, where, when, what, size, and the rule that finds it and nothing
else) and figures with the rule they were computed by. Periods are half open: `end` is the first moment after.
"""

from collections.abc import Callable
from pathlib import Path

from netllama.core.errors import StageError
from netllama.core.files import Row, write_csv, write_json
from testbed.measurements.cost import cost
from testbed.measurements.handovers import handovers
from testbed.measurements.jitter import jitter
from testbed.measurements.kpi import kpi
from testbed.measurements.radio import drive_test, gps, radio
from testbed.measurements.sessions import sessions
from testbed.measurements.slices import slices
from testbed.measurements.tables import Table

_FILES: dict[str, tuple[str, Callable[[int], Table]]] = {
    "kpi": ("counters of 12 cells in 15-minute periods over a week", kpi),
    "radio": ("radio samples of six phones in one measurement car over an hour", radio),
    "gps": ("the positions of that car by another clock", gps),
    "drive_test": ("position, speed, serving cell and signal of that car, second by second", drive_test),
    "handovers": ("handovers of 40 UEs in an hour with cause, result and duration", handovers),
    "sessions": ("registration, connection and PDU session events of 40 UEs in two hours", sessions),
    "jitter": ("send and receive times of each packet of a voice and a video flow", jitter),
    "cost": ("cost, traffic, subscribers and revenue per postcode and month", cost),
    "slices": ("hourly SLA targets and measurements of three network slices over a week", slices),
}
MEASUREMENTS: dict[str, str] = {name: line for name, (line, _) in _FILES.items()}
"""Name -> what the file holds, in one line."""


def write_measurements(name: str, seed: int, folder: Path) -> None:
    """Write folder/NAME.csv and its ground truth folder/NAME.json: the same bytes for the same name and seed."""
    if name not in _FILES:
        raise StageError(f"measurements: there is no {name!r}; known are {', '.join(_FILES)}")
    table = _FILES[name][1](seed)
    write_csv(folder / f"{name}.csv", [_written(table.columns, row) for row in table.rows])
    truth = {"measurements": name, "seed": seed, "rows": len(table.rows), **table.facts}
    write_json(folder / f"{name}.json", truth)


def _written(columns: dict[str, int], row: Row) -> Row:
    """The row's fields as text: floats with the column's decimals, None as nothing."""
    return {
        name: "" if row[name] is None else f"{row[name]:.{decimals}f}" if decimals else row[name]
        for name, decimals in columns.items()
    }
