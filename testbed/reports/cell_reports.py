"""Reports of a 5G cell: its counters in a quarter of an hour."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from testbed.measurements.cell_counters import PERIOD
from testbed.measurements.tables import MONDAY, TableRow
from testbed.reports.report_kind import QuestionType, ReportKind, ask_field
from testbed.reports.report_values import add, measure, subtract
from testbed.reports.report_wording import Fields, draw_number
from testbed.reports.reported_network import ReportedNetwork

DAYS_DRAWN, TIMES_DRAWN, DAYTIME, PARTS = 3, 3, range(28, 88), 2
"""Days and periods that reports of a network are about; the periods lie between 07:00 and 22:00."""
IMPOSSIBLE_MBPS = 1000
UNITS = {
    "dl_throughput_mbps": (2, " Mbit/s"), "ul_throughput_mbps": (2, " Mbit/s"), "dl_prb_util_pct": (1, " %"),
    "latency_ms": (1, " ms"), "jitter_ms": (2, " ms"), "packet_loss_pct": (3, " %"),
    "connected_users": (0, ""), "drops": (0, ""), "rrc_attempts": (0, ""), "rrc_successes": (0, ""),
}  # fmt: skip
"""Column of kpi.csv -> decimals and unit in a report."""


def format_quantity(column: str, value: float) -> str:
    decimals, unit = UNITS[column]
    return f"{value:.{decimals}f}{unit}"


def list_drawn_rows(network: ReportedNetwork, part: int) -> list[tuple[datetime, TableRow]]:
    """The rows of kpi.csv at some times of some days, once each; none with missing values or kbit/s for Mbit/s.

    Different parts have no time in common, so that no two kinds of reports state the same.
    """
    days = sorted(range(7), key=lambda day: draw_number(network.seed, "day", day))[:DAYS_DRAWN]
    times = sorted(DAYTIME, key=lambda time: draw_number(network.seed, "time", time))
    wanted = {MONDAY + timedelta(days=day) + time * PERIOD for day in days for time in times[part::PARTS][:TIMES_DRAWN]}
    rows = {}
    for row in network.kpi.rows:
        moment = datetime.fromisoformat(row["timestamp"])
        if moment in wanted and None not in row.values() and row["throughput_mbps"] <= IMPOSSIBLE_MBPS:
            rows[moment, row["cell"]] = row
    return [(moment, row) for (moment, _), row in sorted(rows.items())]


def name_period(moment: datetime) -> dict[str, str]:
    return {"day": f"{moment:%A}", "start": f"{moment:%H:%M}", "end": f"{moment + PERIOD:%H:%M}"}


def draw_cell_kpi(network: ReportedNetwork) -> Iterator[Fields]:
    for moment, row in list_drawn_rows(network, 0):
        quantities = {column: format_quantity(column, row[column]) for column in UNITS}
        yield {"cell": network.names.name_cell(row["cell"]), **name_period(moment), **quantities}


def compare_loads(fields: Fields) -> str:
    """Whether more than half of the resource blocks were in use."""
    return "yes" if measure(fields["dl_prb_util_pct"]) > 50 else "no"


CELL_KPI = ReportKind(
    name="cell_kpi",
    subject=("cell", "day", "start", "end"),
    titles=("Cell {cell}, {day}", "Counters of cell {cell}", "Quarter-hour figures: {cell}, {day} {start}"),
    openings=(
        "These are the counters of cell {cell} on {day} from {start} to {end}.",
        "Cell {cell} reported as follows for {day}, {start} to {end}.",
        "On {day} between {start} and {end} the following was measured in cell {cell}.",
    ),
    groups=(
        (
            "Throughput was {dl_throughput_mbps} downlink and {ul_throughput_mbps} uplink.",
            "The cell carried {ul_throughput_mbps} in the uplink and {dl_throughput_mbps} in the downlink.",
            "Downlink throughput: {dl_throughput_mbps}, uplink throughput: {ul_throughput_mbps}.",
        ),
        (
            "Of the downlink resource blocks, {dl_prb_util_pct} were in use, by {connected_users} connected users.",
            "The downlink PRB use was {dl_prb_util_pct} with {connected_users} connected users.",
            "Connected users: {connected_users}, downlink PRB use: {dl_prb_util_pct}.",
        ),
        (
            "Probes measured a latency of {latency_ms}, a jitter of {jitter_ms} and a loss of {packet_loss_pct}.",
            "Mean jitter was {jitter_ms}, mean latency {latency_ms}, packet loss {packet_loss_pct}.",
            "Packet loss stood at {packet_loss_pct}, latency at {latency_ms}, jitter at {jitter_ms}.",
        ),
        (
            "RRC connections: {rrc_attempts} attempts, {rrc_successes} successes; dropped connections: {drops}.",
            "Dropped connections: {drops}; RRC attempts: {rrc_attempts}, of which successful: {rrc_successes}.",
        ),
    ),
    scopes=(
        "cell {cell} on {day} from {start} to {end}",
        "radio cell {cell} on {day} between {start} and {end}",
        "5G cell {cell} in the period from {start} until {end} on {day}",
        "the cell {cell} in the quarter of an hour {start} to {end} on {day}",
    ),
    types=(
        ask_field(
            "downlink",
            "What was the downlink throughput of {scope}?",
            "How much downlink throughput was measured in {scope}?",
            "Give the downlink throughput of {scope}.",
            "At what rate did traffic flow in the downlink of {scope}?",
            "Could you look up how many Mbit/s went down to the users of {scope}?",
            "According to the counters, how high was the throughput in the downlink direction of {scope}?",
            "Which throughput towards the users had {scope}?",
            "I need the DL throughput of {scope}.",
            field="dl_throughput_mbps",
        ),
        ask_field(
            "uplink",
            "What was the uplink throughput of {scope}?",
            "How much uplink throughput was measured in {scope}?",
            "Give the uplink throughput of {scope}.",
            "At what rate did traffic flow in the uplink of {scope}?",
            "Can you check how many Mbit/s came up from the users of {scope}?",
            "The uplink of {scope}: how much throughput did it carry?",
            "Which throughput from the users had {scope}?",
            "I need the UL throughput of {scope}.",
            field="ul_throughput_mbps",
        ),
        ask_field(
            "prb",
            "What was the PRB use of {scope}?",
            "What share of the downlink resource blocks was in use in {scope}?",
            "Give the downlink PRB utilisation of {scope}.",
            "How many percent of the PRBs were taken in {scope}?",
            "Please look up the percentage of occupied PRBs in the downlink of {scope}.",
            "For {scope}, what fraction of the downlink PRBs did the scheduler assign?",
            "How full were the downlink resource blocks of {scope}?",
            "I need the physical resource block utilisation of {scope}.",
            field="dl_prb_util_pct",
        ),
        ask_field(
            "latency",
            "What was the latency in {scope}?",
            "Which mean latency was measured in {scope}?",
            "Give the latency of {scope}.",
            "How long did probes take on average in {scope}?",
            "Do you know the average latency that probes saw in {scope}?",
            "Looking at {scope}, how many milliseconds of latency were there on average?",
            "How large was the delay in {scope}?",
            "I need the mean latency of {scope}.",
            field="latency_ms",
        ),
        ask_field(
            "jitter",
            "What was the jitter in {scope}?",
            "Which mean jitter was measured in {scope}?",
            "Give the jitter of {scope}.",
            "How much did the latency vary on average in {scope}?",
            "I'd like to know how many milliseconds of jitter probes saw in {scope}.",
            "Report the average packet delay variation for {scope}.",
            "How large was the delay variation in {scope}?",
            "I need the mean jitter of {scope}.",
            field="jitter_ms",
        ),
        ask_field(
            "loss",
            "What was the packet loss in {scope}?",
            "Which share of the packets was lost in {scope}?",
            "Give the packet loss of {scope}.",
            "How many percent of the packets did not arrive in {scope}?",
            "Show me what percentage of packets went missing in {scope}.",
            "Regarding {scope}, how high was the rate of lost packets?",
            "How large was the loss rate in {scope}?",
            "I need the packet loss ratio of {scope}.",
            field="packet_loss_pct",
        ),
        ask_field(
            "users",
            "How many users were connected in {scope}?",
            "What was the number of connected users of {scope}?",
            "Count the connected users of {scope}.",
            "How many devices had a connection in {scope}?",
            "Check how many terminals were in connected mode in {scope}.",
            "Let me know how many subscribers were connected to {scope}.",
            "How large was the user count of {scope}?",
            "I need the number of UEs connected to {scope}.",
            field="connected_users",
        ),
        QuestionType(
            "rrc_failures",
            ("rrc_attempts", "rrc_successes"),
            lambda fields: subtract(fields["rrc_attempts"], fields["rrc_successes"]),
            (
                "How many RRC attempts failed in {scope}?",
                "What is the difference between RRC attempts and successes in {scope}?",
                "Compute the number of RRC attempts without success of {scope}.",
                "How many RRC connection attempts did not succeed in {scope}?",
                "Of the RRC connection attempts in {scope}, how many came to nothing?",
                "Work out how many RRC setup attempts were unsuccessful in {scope}.",
                "Subtract the RRC successes from the RRC attempts of {scope}.",
                "I need the count of failed RRC connections of {scope}.",
            ),
            difficulty=3,
        ),
        QuestionType(
            "traffic",
            ("dl_throughput_mbps", "ul_throughput_mbps"),
            lambda fields: add(fields["dl_throughput_mbps"], fields["ul_throughput_mbps"]),
            (
                "What was the throughput of both directions together in {scope}?",
                "What is the sum of downlink and uplink throughput of {scope}?",
                "Add downlink and uplink throughput of {scope}.",
                "How much throughput had uplink and downlink in total in {scope}?",
                "Please sum up DL and UL throughput for {scope}.",
                "If we put downlink and uplink together, what throughput do we get for {scope}?",
                "Taken together, which throughput had the two directions of {scope}?",
                "I need the combined UL and DL throughput of {scope}.",
            ),
            difficulty=3,
        ),
        QuestionType(
            "half_full",
            ("dl_prb_util_pct",),
            compare_loads,
            (
                "Was the PRB use above 50 % in {scope}?",
                "Were more than half of the downlink resource blocks in use in {scope}?",
                "Did the PRB utilisation pass 50 % in {scope}?",
                "Answer yes or no: did downlink PRB use exceed 50 % in {scope}?",
                "Check whether more than 50 % of the downlink PRBs were occupied in {scope}.",
                "Can we say that over 50 % of the downlink resource blocks were busy in {scope}?",
                "Was over half of the PRBs taken in {scope}?",
                "Is it true that PRB utilisation stood above 50 % in {scope}?",
            ),
            difficulty=3,
            choices=("yes", "no"),
        ),
    ),
    draw_facts=draw_cell_kpi,
)
