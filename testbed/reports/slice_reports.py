"""Reports of a network slice: what it delivered in an hour, and the targets of its service level agreement."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from testbed.measurements.slices import SLICES
from testbed.measurements.tables import TableRow
from testbed.reports.report_kind import QuestionType, ReportKind, ask_field
from testbed.reports.report_values import measure, subtract
from testbed.reports.report_wording import Fields, draw_number
from testbed.reports.reported_network import ReportedNetwork

UNDISTURBED = 30
"""Hours without a violation that reports are about, beside all hours with one."""


def draw_slice_hours(network: ReportedNetwork) -> Iterator[Fields]:
    rows = network.slices.rows
    late = [row for row in rows if _is_late(row) or _is_slow(row)]
    rest = sorted(
        (row for row in rows if not _is_late(row) and not _is_slow(row)),
        key=lambda row: draw_number(network.seed, row["timestamp"][8:10], row["timestamp"][11:13]),
    )
    for row in [*late, *rest[:UNDISTURBED]]:
        moment = datetime.fromisoformat(row["timestamp"])
        yield {
            "day": f"{moment:%A}",
            "start": f"{moment:%H:%M}",
            "end": f"{moment + timedelta(hours=1):%H:%M}",
            "slice": network.names.name_thing("slice", str(list(SLICES).index(row["slice"]))),
            "latency": f"{row['latency_ms']:.2f} ms",
            "latency_target": f"{row['sla_latency_ms']:.2f} ms",
            "loss": f"{row['packet_loss_pct']:.4f} %",
            "throughput": f"{row['dl_throughput_mbps']:.3f} Mbit/s",
            "throughput_target": f"{row['sla_dl_throughput_mbps']:.3f} Mbit/s",
            "availability": f"{row['availability_pct']:.3f} %",
            "ues": str(row["ues"]),
        }


def _is_late(row: TableRow) -> bool:
    return bool(row["latency_ms"] > row["sla_latency_ms"])


def _is_slow(row: TableRow) -> bool:
    return bool(row["dl_throughput_mbps"] < row["sla_dl_throughput_mbps"])


SLICE_HOUR = ReportKind(
    name="slice_hour",
    subject=("day", "start", "end", "slice"),
    titles=("Slice {slice}, {day} {start}", "Service levels of slice {slice}", "Slice {slice}"),
    openings=(
        "This is what slice {slice} delivered on {day} from {start} to {end}.",
        "On {day} between {start} and {end} slice {slice} was measured as follows.",
        "Slice {slice}, {day}, {start} to {end}: the hour's figures.",
    ),
    groups=(
        (
            "The 95th percentile of latency was {latency}, with a target of at most {latency_target}.",
            "At most {latency_target} of latency are allowed; the 95th percentile came to {latency}.",
            "Latency, 95th percentile: {latency}; agreed maximum: {latency_target}.",
        ),
        (
            "Each user got {throughput} in the downlink, where at least {throughput_target} are agreed.",
            "Throughput per user was {throughput}, against an agreed minimum of {throughput_target}.",
        ),
        (
            "Of all packets, {loss} were lost.",
            "Packet loss came to {loss}.",
        ),
        (
            "Availability was {availability} with {ues} registered devices.",
            "Registered devices: {ues}; availability: {availability}.",
        ),
    ),
    scopes=(
        "slice {slice} on {day} from {start} to {end}",
        "network slice {slice} on {day} between {start} and {end}",
        "the 5G slice {slice} in the hour that ran from {start} until {end} on {day}",
        "the slice {slice} in the hour {start} to {end} on {day}",
    ),
    types=(
        ask_field(
            "latency",
            "What was the 95th percentile of latency of {scope}?",
            "Which latency was kept by 95 % of the packets of {scope}?",
            "Give the p95 latency of {scope}.",
            "At which value was the 95th latency percentile of {scope}?",
            "Look up the latency that 95 % of the packets did not exceed in {scope}.",
            "For {scope}, how many milliseconds was the 95th percentile of the delay?",
            "How large was latency, as 95th percentile, in {scope}?",
            "I need the P95 of the latency of {scope}.",
            difficulty=2,
        ),
        ask_field(
            "throughput",
            "What was the throughput per user of {scope}?",
            "How much downlink throughput did each user get in {scope}?",
            "Give the throughput per user of {scope}.",
            "At what rate did a user receive data in {scope}?",
            "Could you report the downlink rate that a single user saw in {scope}?",
            "Per user, how many Mbit/s were delivered in the downlink of {scope}?",
            "How fast was the downlink for one user of {scope}?",
            "I need the per-user throughput of {scope}.",
            difficulty=2,
        ),
        ask_field(
            "loss",
            "What was the packet loss of {scope}?",
            "Which share of the packets was lost in {scope}?",
            "Give the packet loss of {scope}.",
            "How many percent of the packets did not arrive in {scope}?",
            "Please state the proportion of packets that got lost in {scope}.",
            "According to the report, how high was packet loss in {scope}?",
            "How large was the loss rate of {scope}?",
            "I need the packet loss ratio of {scope}.",
        ),
        ask_field(
            "availability",
            "What was the availability of {scope}?",
            "To what share was it available: {scope}?",
            "Give the availability of {scope}.",
            "How many percent of the hour was it in service: {scope}?",
            "I'd like to know the percentage of uptime for {scope}.",
            "The availability of {scope}: what percentage did it reach?",
            "How available was {scope}?",
            "I need the availability figure of {scope}.",
        ),
        ask_field(
            "devices",
            "How many devices were registered in {scope}?",
            "What was the number of registered devices of {scope}?",
            "Count the registered devices of {scope}.",
            "How many UEs belonged to {scope}?",
            "Let me know how many terminals were registered with {scope}.",
            "Determine how many UEs had a registration in {scope}.",
            "How large was the population of devices of {scope}?",
            "I need the count of registered UEs of {scope}.",
            field="ues",
        ),
        QuestionType(
            "latency_kept",
            ("latency", "latency_target"),
            lambda fields: "yes" if measure(fields["latency"]) <= measure(fields["latency_target"]) else "no",
            (
                "Was the latency target met by {scope}?",
                "Did latency stay within its target in {scope}?",
                "Answer yes or no: was latency no greater than agreed in {scope}?",
                "Did latency respect the agreed maximum in {scope}?",
                "Check whether the p95 latency was inside the SLA for {scope}.",
                "As for latency, did {scope} honour the service level agreement?",
                "Was latency low enough for the agreement in {scope}?",
                "Yes or no: latency within the limit, {scope}?",
            ),
            difficulty=3,
            choices=("yes", "no"),
        ),
        QuestionType(
            "throughput_kept",
            ("throughput", "throughput_target"),
            lambda fields: "yes" if measure(fields["throughput"]) >= measure(fields["throughput_target"]) else "no",
            (
                "Was the throughput target met by {scope}?",
                "Did throughput reach its target in {scope}?",
                "Answer yes or no: was throughput no less than agreed in {scope}?",
                "Did throughput respect the agreed minimum in {scope}?",
                "Can we say that users got at least the agreed throughput in {scope}?",
                "In terms of throughput per user, was the SLA fulfilled by {scope}?",
                "Was throughput high enough for the agreement in {scope}?",
                "Yes or no: throughput at or above the minimum, {scope}?",
            ),
            difficulty=3,
            choices=("yes", "no"),
        ),
        QuestionType(
            "latency_margin",
            ("latency", "latency_target"),
            lambda fields: subtract(*sorted((fields["latency"], fields["latency_target"]), key=measure, reverse=True)),
            (
                "How far was the p95 latency from its target in {scope}?",
                "What is the difference between p95 latency and its target in {scope}?",
                "Compute the distance of latency to its target of {scope}.",
                "By how much did latency differ from the agreed maximum in {scope}?",
                "Work out how many milliseconds lie between the p95 latency and its agreed maximum for {scope}.",
                "Setting the 95th latency percentile against its target, how big is the deviation for {scope}?",
                "How large is the gap between latency and its limit in {scope}?",
                "I need the absolute difference of latency and target of {scope}.",
            ),
            difficulty=3,
        ),
    ),
    draw_facts=draw_slice_hours,
)
