"""Reports of a cluster of 5G cells: one quantity of four cells in a quarter of an hour, and a limit."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from testbed.measurements.tables import CELLS
from testbed.reports.cell_reports import format_quantity, list_drawn_rows, name_period
from testbed.reports.report_kind import QuestionType, ReportKind, ask_field
from testbed.reports.report_tables import find_extreme, list_other_pairs, list_row_keys, read_row, read_rows, write_rows
from testbed.reports.report_values import measure, subtract
from testbed.reports.report_wording import Fields, draw_number
from testbed.reports.reported_network import ReportedNetwork

QUANTITIES = {
    "jitter": "jitter_ms",
    "latency": "latency_ms",
    "loss": "packet_loss_pct",
    "utilisation": "dl_prb_util_pct",
    "throughput": "dl_throughput_mbps",
}
"""Name of a quantity -> its column in kpi.csv."""
CLUSTER = 4
"""Cells in a cluster."""
ROW = "{cell} {value}"


def draw_rankings(network: ReportedNetwork) -> Iterator[Fields]:
    """For each drawn period, cluster and quantity, if one cell is ahead: the limit is then between it and the next."""
    periods: dict[datetime, dict[str, dict[str, float]]] = defaultdict(dict)
    for moment, row in list_drawn_rows(network, 1):
        periods[moment][row["cell"]] = {name: row[column] for name, column in QUANTITIES.items()}
    order = sorted(CELLS, key=lambda cell: draw_number(network.seed, "cluster", cell))
    for moment, measured in periods.items():
        for number in range(len(CELLS) // CLUSTER):
            cells = [cell for cell in order[number * CLUSTER : (number + 1) * CLUSTER] if cell in measured]
            for quantity, column in QUANTITIES.items():
                ranked = sorted((measured[cell][quantity] for cell in cells), reverse=True)
                if len(cells) < CLUSTER:
                    continue
                share = draw_number(network.seed, moment, number, quantity) / 2**64
                limit = format_quantity(column, ranked[1] + share * (ranked[0] - ranked[1]))
                values = [format_quantity(column, measured[cell][quantity]) for cell in cells]
                if sum(measure(value) >= measure(limit) for value in values) != 1 or limit in values:
                    continue
                rows = [
                    {"cell": network.names.name_cell(cell), "value": value}
                    for cell, value in zip(cells, values, strict=True)
                ]
                yield {
                    "quantity": quantity,
                    "cluster": network.names.name_thing("cluster", str(number)),
                    **name_period(moment),
                    "rows": write_rows(ROW, rows),
                    "limit": limit,
                }


def find_over_limit(fields: Fields) -> str | None:
    """The cell above the limit; None unless there is exactly one."""
    over = [row["cell"] for row in read_rows(ROW, fields) if measure(row["value"]) > measure(fields["limit"])]
    return over[0] if len(over) == 1 else None


def compute_excess(fields: Fields) -> str:
    """By how much the highest value exceeds the limit."""
    highest = max((row["value"] for row in read_rows(ROW, fields)), key=measure)
    return subtract(highest, fields["limit"])


def compare_cells(fields: Fields) -> str | None:
    """By how much the first cell's value is the greater; None if it is not."""
    one, other = (read_row(ROW, fields, "cell", fields[name])["value"] for name in ("cell", "other"))
    return subtract(one, other) if measure(one) > measure(other) else None


CELL_RANKING = ReportKind(
    name="cell_ranking",
    subject=("quantity", "cluster", "day", "start", "end"),
    titles=("Cluster {cluster}: {quantity}", "Cluster {cluster}, {quantity}, {day}", "Cells of {cluster}"),
    openings=(
        "The {quantity} of the cells in cluster {cluster} on {day} from {start} to {end} is listed here.",
        "On {day} between {start} and {end} the {quantity} was compared among the cells of cluster {cluster}.",
        "This is a comparison of {quantity} in cluster {cluster}, {day}, {start} to {end}.",
    ),
    groups=(
        ("By cell: {rows}.", "The cells measured {rows}.", "Values of the period: {rows}."),
        ("An alarm is raised above {limit}.", "The limit is {limit}.", "The operator allows no more than {limit}."),
    ),
    scopes=(
        "{quantity} in cluster {cluster} on {day} from {start} to {end}",
        "{quantity} of cluster {cluster} on {day} between {start} and {end}",
        "{quantity} as observed within cluster {cluster} from {start} until {end} on {day}",
        "{quantity}, measured in {cluster} in the quarter of an hour {start} to {end} on {day}",
    ),
    types=(
        QuestionType(
            "over_limit",
            ("rows", "limit"),
            find_over_limit,
            (
                "Which cell passed the limit of {scope}?",
                "Which cell was above the limit of {scope}?",
                "Name the cell that exceeded the limit of {scope}.",
                "Which of the cells broke the limit of {scope}?",
                "Look up the cell that was in violation of the limit for {scope}.",
                "Considering {scope}, in which cell was the threshold crossed?",
                "Where was more measured than the limit allows of {scope}?",
                "Tell me which cell went over the permitted {scope}.",
            ),
            difficulty=3,
        ),
        QuestionType(
            "lowest",
            ("rows",),
            lambda fields: find_extreme(ROW, fields, "cell", "value", min),
            (
                "Which cell had the lowest {scope}?",
                "Which cell was at the bottom of {scope}?",
                "Name the cell with the smallest {scope}.",
                "Which of the cells showed the least {scope}?",
                "Check which cell ranked lowest in {scope}.",
                "Among all cells, which one recorded the smallest value for {scope}?",
                "Where was the minimum of {scope}?",
                "Find the cell with the lowest value of {scope}.",
            ),
            difficulty=3,
        ),
        QuestionType(
            "value",
            ("rows",),
            lambda fields: read_row(ROW, fields, "cell", fields["cell"])["value"],
            (
                "What did cell {cell} have of {scope}?",
                "What was the value of {cell} for {scope}?",
                "Give the figure of cell {cell} for {scope}.",
                "How much was measured in {cell} of {scope}?",
                "For {scope}, what reading did cell {cell} show?",
                "Please look up the measurement of {cell} for {scope}.",
                "Which value is listed beside {cell} for {scope}?",
                "I need the value that {cell} reached of {scope}.",
            ),
            difficulty=2,
            list_asked=lambda fields: list_row_keys(ROW, fields, "cell"),
        ),
        ask_field(
            "limit",
            "What was the limit of {scope}?",
            "From which value is an alarm raised for {scope}?",
            "Give the limit that holds for {scope}.",
            "How much is allowed of {scope}?",
            "Report the highest value that is still permitted for {scope}.",
            "Beyond which level is there an alarm for {scope}?",
            "Which value must not be exceeded of {scope}?",
            "I need the threshold for {scope}.",
        ),
        QuestionType(
            "excess",
            ("rows", "limit"),
            compute_excess,
            (
                "By how much did the highest cell exceed the limit of {scope}?",
                "How far above the limit was the highest value of {scope}?",
                "Compute the highest value less the limit of {scope}.",
                "What is the difference between the maximum and the limit of {scope}?",
                "Work out how far the top cell was past the limit for {scope}.",
                "Relative to the limit, how big was the overshoot of the highest cell for {scope}?",
                "How much too high was the worst cell of {scope}?",
                "I need the excess of the top value over the limit of {scope}.",
            ),
            difficulty=3,
        ),
        QuestionType(
            "difference",
            ("rows",),
            compare_cells,
            (
                "How much more than {other} had {cell} of {scope}?",
                "By how much did {cell} exceed {other} in {scope}?",
                "Compute the value of {cell} less that of {other} for {scope}.",
                "What is the difference between {cell} and {other} in {scope}?",
                "Comparing {cell} with {other}, how much higher was the former in {scope}?",
                "Determine by how much the value of {cell} tops that of {other} for {scope}.",
                "How far was {cell} ahead of {other} in {scope}?",
                "Subtract the value of {other} from that of {cell} for {scope}.",
            ),
            difficulty=3,
            list_asked=lambda fields: list_other_pairs(ROW, fields, "cell"),
        ),
    ),
    draw_facts=draw_rankings,
)
