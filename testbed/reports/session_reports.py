"""Reports of a group of devices: the PDU sessions that they asked for in a quarter of an hour."""

from collections import defaultdict
from collections.abc import Iterator

from testbed.measurements.arithmetic import compute_mean, compute_percentile, list_present
from testbed.measurements.tables import TableRow
from testbed.reports.report_kind import QuestionType, ReportKind, ask_field
from testbed.reports.report_values import add, subtract
from testbed.reports.report_wording import Fields
from testbed.reports.reported_network import ReportedNetwork

MINUTES = 15
FEWEST = 5
"""Established sessions from which a percentile is reported."""


def draw_session_groups(network: ReportedNetwork) -> Iterator[Fields]:
    """For each kind of device and quarter of an hour."""
    groups: dict[tuple[str, str, int], list[TableRow]] = defaultdict(list)
    for row in network.sessions.rows:
        if row["snssai"] is not None:
            time = row["timestamp"]
            groups[row["snssai"], time[:14], int(time[14:16]) // MINUTES].append(row)
    for (snssai, hour, part), rows in groups.items():
        setups = list_present([row for row in rows if row["event"] == "PDU-SESSION-ESTABLISHED"], "setup_ms")
        released = list_present(rows, "duration_s")
        if len(setups) < FEWEST or not released:
            continue
        first = f"{hour}{part * MINUTES:02}:00"
        rejected = sum(row["event"] == "PDU-SESSION-REJECTED" for row in rows)
        yield {
            "group": network.names.name_thing("group", snssai),
            "start": network.names.shift_time(first)[:5],
            "end": network.names.shift_time(first, 60 * MINUTES)[:5],
            "established": str(len(setups)),
            "rejected": str(rejected),
            "mean_setup": f"{compute_mean(setups):.1f} ms",
            "p95_setup": f"{compute_percentile(setups, 0.95):.1f} ms",
            "longest_setup": f"{max(setups):.1f} ms",
            "duration": f"{compute_mean(released):.1f} s",
            "volume": f"{sum(list_present(rows, 'dl_bytes')) / 1e6:.2f} MB",
        }


DEVICE_SESSIONS = ReportKind(
    name="device_sessions",
    subject=("group", "start", "end"),
    titles=("Sessions of group {group}", "Group {group}, {start}", "PDU sessions: {group}"),
    openings=(
        "The devices of group {group} asked for PDU sessions between {start} and {end}.",
        "This is a summary of the PDU sessions of group {group} from {start} to {end}.",
        "Group {group}, {start} to {end}: PDU sessions.",
    ),
    groups=(
        (
            "The network established {established} sessions and rejected {rejected}.",
            "Rejected requests: {rejected}; established sessions: {established}.",
        ),
        (
            "Setup took {mean_setup} on average, {p95_setup} at the 95th percentile and {longest_setup} at most.",
            "Setup time: 95th percentile {p95_setup}, mean {mean_setup}, maximum {longest_setup}.",
            "The longest setup took {longest_setup}, the mean was {mean_setup}, the 95th percentile {p95_setup}.",
        ),
        (
            "Sessions that ended had lasted {duration} on average.",
            "The mean duration of released sessions was {duration}.",
        ),
        (
            "They carried {volume} in the downlink.",
            "Downlink volume: {volume}.",
        ),
    ),
    scopes=(
        "group {group} between {start} and {end}",
        "device group {group} from {start} to {end}",
        "UE group {group} in the quarter of an hour from {start} until {end}",
        "the devices of {group} in the interval {start} to {end}",
    ),
    types=(
        ask_field(
            "established",
            "How many sessions were established for {scope}?",
            "What was the number of established sessions of {scope}?",
            "Count the sessions that were set up for {scope}.",
            "How many PDU sessions came about for {scope}?",
            "Look up how many PDU session requests succeeded for {scope}.",
            "Report the number of PDU sessions that the network opened for {scope}.",
            "How many session requests were granted to {scope}?",
            "I need the count of established PDU sessions of {scope}.",
        ),
        ask_field(
            "mean_setup",
            "What was the mean setup time of {scope}?",
            "How long did setup take on average for {scope}?",
            "Give the mean session setup time of {scope}.",
            "How long was a typical setup, as the mean, for {scope}?",
            "On average, how many milliseconds passed until a session was set up for {scope}?",
            "Could you look up the mean time to establish a session for {scope}?",
            "What did setting up a session take on average for {scope}?",
            "I need the average setup time of {scope}.",
            difficulty=2,
        ),
        ask_field(
            "p95_setup",
            "What was the 95th percentile of setup time of {scope}?",
            "Which setup time was kept by 95 % of the sessions of {scope}?",
            "Give the p95 setup time of {scope}.",
            "At which value was the 95th setup percentile of {scope}?",
            "Please state the setup time that 95 % of the sessions did not exceed for {scope}.",
            "Within how many milliseconds were 95 % of the sessions set up for {scope}?",
            "How long was setup, as 95th percentile, for {scope}?",
            "I need the P95 of the setup time of {scope}.",
            difficulty=2,
        ),
        ask_field(
            "longest_setup",
            "What was the longest setup time of {scope}?",
            "How long did the slowest setup take for {scope}?",
            "Give the maximum setup time of {scope}.",
            "What was the worst setup time of {scope}?",
            "Up to how many milliseconds did it take to set up a session for {scope}?",
            "Show me the setup time of the session that took longest to establish for {scope}.",
            "How long did setup take at most for {scope}?",
            "I need the peak setup time of {scope}.",
            difficulty=2,
        ),
        ask_field(
            "duration",
            "How long did sessions last on average for {scope}?",
            "What was the mean duration of sessions of {scope}?",
            "Give the mean session duration of {scope}.",
            "How many seconds did a session live on average for {scope}?",
            "From start to release, how many seconds did the average session run for {scope}?",
            "Do you know how long an average session stayed up for {scope}?",
            "What was the average lifetime of sessions of {scope}?",
            "I need the average session length of {scope}.",
        ),
        ask_field(
            "volume",
            "How much data was carried in the downlink for {scope}?",
            "What was the downlink volume of {scope}?",
            "Give the downlink volume of {scope}.",
            "How many megabytes were received by {scope}?",
            "I'd like to know how many MB went over the downlink for {scope}.",
            "Determine the amount of downlink data that was delivered to {scope}.",
            "How much traffic flowed down to {scope}?",
            "I need the DL data volume of {scope}.",
        ),
        QuestionType(
            "requests",
            ("established", "rejected"),
            lambda fields: add(fields["established"], fields["rejected"]),
            (
                "How many sessions were established or rejected in all for {scope}?",
                "What is the sum of established and rejected sessions of {scope}?",
                "Add the rejected to the established sessions of {scope}.",
                "How many requests were answered, either way, for {scope}?",
                "Counting successes and rejections alike, how many session requests came from {scope}?",
                "Work out how many sessions were either set up or refused for {scope}.",
                "Granted and refused together, how many sessions had {scope}?",
                "I need the total of accepted and rejected sessions of {scope}.",
            ),
            difficulty=3,
        ),
        QuestionType(
            "setup_spread",
            ("longest_setup", "mean_setup"),
            lambda fields: subtract(fields["longest_setup"], fields["mean_setup"]),
            (
                "How much longer than the mean was the longest setup of {scope}?",
                "By how much did the longest setup exceed the mean for {scope}?",
                "Compute the longest less the mean setup time of {scope}.",
                "What is the difference between maximum and mean setup time of {scope}?",
                "Compared with the mean setup time, how much more did the slowest session need for {scope}?",
                "Determine the gap between the average and the longest session setup for {scope}.",
                "How far was the slowest setup above the average for {scope}?",
                "Subtract the mean from the maximum setup time of {scope}.",
            ),
            difficulty=3,
        ),
    ),
    draw_facts=draw_session_groups,
)
