"""Reports of a phone's handovers in five minutes."""

from collections import defaultdict
from collections.abc import Iterator

from testbed.measurements.tables import TableRow
from testbed.reports.report_kind import QuestionType, ReportKind
from testbed.reports.report_tables import find_extreme, list_row_keys, read_row, read_rows, write_rows
from testbed.reports.report_wording import Fields
from testbed.reports.reported_network import ReportedNetwork

MINUTES, FEWEST, MOST = 5, 2, 3
"""Length of the interval, and handovers in a report."""
ROW = "{time} from {source} to {target} ({result}, {duration})"
RESULTS = {"success": "completed", "too_late": "too late", "too_early": "too early"}


def draw_journeys(network: ReportedNetwork) -> Iterator[Fields]:
    groups: dict[tuple[str, int], list[TableRow]] = defaultdict(list)
    for row in network.handovers.rows:
        groups[row["ue"], int(row["timestamp"][14:16]) // MINUTES].append(row)
    for (ue, part), moves in groups.items():
        first = f"{moves[0]['timestamp'][:14]}{part * MINUTES:02}:00"
        times = [network.names.shift_time(row["timestamp"]) for row in moves]
        if not FEWEST <= len(moves) <= MOST or len(set(times)) < len(times):
            continue
        rows = [
            {
                "time": time,
                "source": network.names.name_cell(row["source"]),
                "target": network.names.name_cell(row["target"]),
                "result": RESULTS[row["result"]],
                "duration": f"{row['duration_ms']:.1f} ms",
            }
            for time, row in zip(times, moves, strict=True)
        ]
        yield {
            "phone": network.names.name_thing("phone", ue),
            "start": network.names.shift_time(first)[:5],
            "end": network.names.shift_time(first, 60 * MINUTES)[:5],
            "rows": write_rows(ROW, rows),
        }


def find_failed(fields: Fields) -> str | None:
    """The time of the handover that failed; None unless there is exactly one."""
    failed = [row["time"] for row in read_rows(ROW, fields) if row["result"] != "completed"]
    return failed[0] if len(failed) == 1 else None


def find_last_cell(fields: Fields) -> str:
    """Where the phone is in the end: after a handover that came too early, back in the source."""
    last = read_rows(ROW, fields)[-1]
    return last["source"] if last["result"] == RESULTS["too_early"] else last["target"]


def has_returned(fields: Fields) -> str:
    """Whether the phone ends in the cell in which it began."""
    return "yes" if find_last_cell(fields) == read_rows(ROW, fields)[0]["source"] else "no"


def read_move(column: str, name: str, *wordings: str) -> QuestionType:
    """A question for a column of the row with a certain time."""
    return QuestionType(
        name,
        ("rows",),
        lambda fields: read_row(ROW, fields, "time", fields["time"])[column],
        wordings,
        difficulty=2,
        list_asked=lambda fields: list_row_keys(ROW, fields, "time"),
    )


PHONE_HANDOVERS = ReportKind(
    name="phone_handovers",
    subject=("phone", "start", "end"),
    titles=("Handovers of {phone}", "Phone {phone}, {start}", "Journey of {phone}"),
    openings=(
        "Phone {phone} was handed over several times between {start} and {end}.",
        "These are the handovers of phone {phone} from {start} to {end}.",
        "From {start} to {end} the network moved phone {phone} between cells.",
    ),
    groups=(("In order of time: {rows}.", "The handovers were: {rows}.", "It went as follows: {rows}."),),
    scopes=(
        "phone {phone} between {start} and {end}",
        "UE {phone} from {start} to {end}",
        "handset {phone} in the time from {start} until {end}",
        "the phone {phone} in the interval {start} to {end}",
    ),
    types=(
        read_move(
            "target",
            "target",
            "To which cell was the handover at {time} of {scope}?",
            "Which cell was the target at {time} of {scope}?",
            "Name the target cell of the handover at {time} of {scope}.",
            "Into which cell was it moved at {time}: {scope}?",
            "With the handover at {time}, which cell came next for {scope}?",
            "Look up the cell that the handover at {time} was directed to, for {scope}.",
            "The handover at {time}: where did it lead to, for {scope}?",
            "Tell me the destination cell at {time} of {scope}.",
        ),
        read_move(
            "source",
            "source",
            "From which cell was the handover at {time} of {scope}?",
            "Which cell was the source at {time} of {scope}?",
            "Name the source cell of the handover at {time} of {scope}.",
            "Out of which cell was it moved at {time}: {scope}?",
            "For {scope}, which cell was left behind in the handover at {time}?",
            "Could you look up the cell in which the handover at {time} began for {scope}?",
            "The handover at {time}: where did it come from, for {scope}?",
            "Tell me the departure cell at {time} of {scope}.",
        ),
        read_move(
            "duration",
            "duration",
            "How long did the handover at {time} take of {scope}?",
            "What was the duration of the handover at {time} of {scope}?",
            "Give the length of the handover at {time} of {scope}.",
            "How many milliseconds did the handover at {time} need for {scope}?",
            "Please report the execution time of the handover at {time} for {scope}.",
            "In milliseconds, how much time went into the handover at {time} for {scope}?",
            "The handover at {time}: how long was it for {scope}?",
            "Tell me the time taken by the handover at {time} of {scope}.",
        ),
        QuestionType(
            "failed",
            ("rows",),
            find_failed,
            (
                "When did a handover fail of {scope}?",
                "At what time was there a failed handover of {scope}?",
                "Give the time of the failed handover of {scope}.",
                "Which handover was not completed, by its time, of {scope}?",
                "One handover of {scope} failed - at what time was that?",
                "Can you find out when a handover did not succeed for {scope}?",
                "At what time of day did a handover go wrong for {scope}?",
                "Tell me the time stamp of the unsuccessful handover of {scope}.",
            ),
            difficulty=3,
        ),
        QuestionType(
            "slowest",
            ("rows",),
            lambda fields: find_extreme(ROW, fields, "time", "duration", max),
            (
                "At what time was the handover that took longest of {scope}?",
                "When was the slowest handover of {scope}?",
                "Give the time of the longest handover of {scope}.",
                "Which handover had the largest duration, by its time, of {scope}?",
                "For {scope}, when did the handover with the longest execution time take place?",
                "Determine the time of day at which a handover took the most milliseconds for {scope}.",
                "At what time of day did the lengthiest handover happen for {scope}?",
                "Tell me the time stamp of the handover with the highest duration of {scope}.",
            ),
            difficulty=3,
        ),
        QuestionType(
            "last_cell",
            ("rows",),
            find_last_cell,
            (
                "In which cell was it after the last handover: {scope}?",
                "Which cell served it in the end: {scope}?",
                "Name the final cell of {scope}.",
                "Where did the journey end for {scope}?",
                "Eventually, in which cell did {scope} end up?",
                "Work out the cell in which the series of handovers left {scope}.",
                "After all handovers, which cell had {scope}?",
                "Tell me the cell at the end of the list of {scope}.",
            ),
            difficulty=3,
        ),
        QuestionType(
            "returned",
            ("rows",),
            has_returned,
            (
                "Did it end in the cell in which it began: {scope}?",
                "Was the first cell also the last one of {scope}?",
                "Answer yes or no: did it return to its first cell, {scope}?",
                "Is the final cell the same as the initial one for {scope}?",
                "Check whether the serving cell at the end was the one from the start for {scope}.",
                "Can we say that the journey came full circle, back to its first cell, for {scope}?",
                "Did the handovers lead back to the starting cell of {scope}?",
                "Yes or no: back in the original cell at the end, {scope}?",
            ),
            difficulty=3,
            choices=("yes", "no"),
        ),
    ),
    draw_facts=draw_journeys,
)
