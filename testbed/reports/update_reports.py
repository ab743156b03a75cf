"""Reports of a prefix: what a collector saw of it in five minutes."""

from collections import defaultdict
from collections.abc import Iterator

from testbed.internet.truth import get_origins
from testbed.reports.report_kind import QuestionType, ReportKind, ask_field
from testbed.reports.report_wording import Fields
from testbed.reports.reported_network import SLOT, Element, ReportedNetwork


def draw_prefix_updates(network: ReportedNetwork) -> Iterator[Fields]:
    """For each collector, five minutes and prefix with at least two announcements."""
    groups: dict[tuple[str, int, str], list[Element]] = defaultdict(list)
    for element in network.elements:
        slot = int(element.time) // SLOT * SLOT
        groups[element.feed.collector.name, slot, element.prefix].append(element)
    for (collector, slot, prefix), elements in groups.items():
        announced = [element for element in elements if element.after is not None]
        if len(announced) < 2:
            continue
        fields = {
            "prefix": network.names.name_prefix(prefix),
            "collector": network.names.name_thing("collector", collector),
            **network.name_interval(slot),
            "announcements": str(len(announced)),
            "withdrawals": str(len(elements) - len(announced)),
            "peers": str(len({element.feed.asn for element in elements})),
        }
        origins = {origin for element in announced if element.after for origin in get_origins(element.after)}
        if len(origins) == 1:
            fields["origin"] = network.names.name_as(origins.pop())
        first, last = elements[0], announced[-1]
        if len({each.feed.asn for each in elements if int(each.time) == int(first.time)}) == 1:
            fields |= {"first_peer": network.names.name_as(first.feed.asn)}
            fields |= {"first_time": network.names.format_clock(first.time)}
        if len({each.feed.asn for each in announced if int(each.time) == int(last.time)}) == 1:
            fields |= {"last_peer": network.names.name_as(last.feed.asn)}
            fields |= {"last_time": network.names.format_clock(last.time)}
        yield fields


def name_majority(fields: Fields) -> str | None:
    """Whether there were more announcements or more withdrawals; None if as many."""
    difference = int(fields["announcements"]) - int(fields["withdrawals"])
    return None if difference == 0 else "announcements" if difference > 0 else "withdrawals"


PREFIX_UPDATES = ReportKind(
    name="prefix_updates",
    subject=("prefix", "collector", "start", "end"),
    titles=("Updates of {prefix}", "What {collector} saw of {prefix}"),
    openings=(
        "Between {start} and {end} collector {collector} received BGP updates of prefix {prefix}.",
        "This is what collector {collector} recorded of prefix {prefix} from {start} to {end}.",
        "From {start} to {end} the routes to prefix {prefix} moved, as seen at collector {collector}.",
    ),
    groups=(
        (
            "The number of announcements was {announcements}, that of withdrawals {withdrawals}.",
            "It counted withdrawals ({withdrawals}) and announcements ({announcements}).",
            "In the update files, announcements: {announcements}, withdrawals: {withdrawals}.",
        ),
        (
            "All announced paths ended in {origin}.",
            "The origin of every announced route was {origin}.",
            "Each time it was {origin} that originated the prefix.",
        ),
        (
            "The first peer to report was {first_peer}, at {first_time}.",
            "At {first_time} peer {first_peer} sent the first update.",
            "It began with peer {first_peer} at {first_time}.",
        ),
        (
            "The last announcement came from {last_peer} at {last_time}.",
            "At {last_time} peer {last_peer} was the last to announce it.",
            "Peer {last_peer} announced it last, at {last_time}.",
        ),
        (
            "Peers that took part: {peers}.",
            "The updates came from a number of peers, {peers} in all.",
        ),
    ),
    scopes=(
        "{prefix} at collector {collector} between {start} and {end}",
        "prefix {prefix} from {start} to {end} at {collector}",
        "prefix {prefix} in the data of collector {collector} from {start} to {end}",
        "{prefix} in the interval {start} to {end}, as collector {collector} saw it",
    ),
    types=(
        ask_field(
            "announcements",
            "How many announcements were there of {scope}?",
            "What was the number of announcements of {scope}?",
            "Count the announcements of {scope}.",
            "Give the number of times peers announced {scope}.",
            "For {scope}, what does the count of announcements come to?",
            "Leaving withdrawals aside, how many updates were received for {scope}?",
            "How often was a route announced to {scope}?",
            "I need the announcement count for {scope}.",
        ),
        ask_field(
            "withdrawals",
            "How many withdrawals were there of {scope}?",
            "What was the number of withdrawals of {scope}?",
            "Count the withdrawals of {scope}.",
            "Give the number of times peers withdrew {scope}.",
            "On how many occasions did a peer withdraw its route to {scope}?",
            "Please put a figure on the withdrawals seen for {scope}.",
            "How often was the route withdrawn to {scope}?",
            "I need the withdrawal count for {scope}.",
        ),
        ask_field(
            "origin",
            "Which AS originated {scope}?",
            "What was the origin AS of {scope}?",
            "Who was the origin of {scope}?",
            "Name the AS at the end of the paths to {scope}.",
            "For {scope}, in what AS did every announced route have its source?",
            "Please identify the AS that injected the routes to {scope}.",
            "Which network's AS number stands last in the AS paths to {scope}?",
            "Tell me the originating AS of {scope}.",
        ),
        ask_field(
            "first_peer",
            "Which peer was the first to send an update of {scope}?",
            "Who reported {scope} first?",
            "Name the peer of the first update of {scope}.",
            "From which peer came the earliest update of {scope}?",
            "Ahead of all other peers, who sent an update of {scope}?",
            "Look up the peer that started off the updates of {scope}.",
            "The updates of {scope}: which peer opened the sequence?",
            "Tell me which AS sent the initial update of {scope}.",
        ),
        ask_field(
            "last_peer",
            "Which peer was the last to announce {scope}?",
            "Who announced {scope} last?",
            "Name the peer of the last announcement of {scope}.",
            "From which peer came the latest announcement of {scope}?",
            "For {scope}, whose announcement was not followed by any other?",
            "Please look up the peer behind the most recent announcement of {scope}.",
            "The announcements of {scope}: which peer closed the sequence?",
            "Tell me which AS sent the final announcement of {scope}.",
        ),
        ask_field(
            "last_time",
            "When was the last announcement of {scope}?",
            "At what time came the last announcement of {scope}?",
            "Give the time of the latest announcement of {scope}.",
            "When did a peer last announce {scope}?",
            "After what time were there no more announcements of {scope}?",
            "Could you check when peers stopped announcing {scope}?",
            "At what time of day did the announcements of {scope} end?",
            "Tell me the time stamp of the final announcement of {scope}.",
        ),
        QuestionType(
            "updates",
            ("announcements", "withdrawals"),
            lambda fields: str(int(fields["announcements"]) + int(fields["withdrawals"])),
            (
                "How many announcements and withdrawals were there together for {scope}?",
                "What is the sum of announcements and withdrawals for {scope}?",
                "Add up the announcements and the withdrawals for {scope}.",
                "How many updates of both sorts were there in total for {scope}?",
                "Work out the combined count of announcements and withdrawals for {scope}.",
                "If you put announcements and withdrawals together, what total do you get for {scope}?",
                "Taking announcements and withdrawals as one, how many were there for {scope}?",
                "I need the total of all announcements plus all withdrawals for {scope}.",
            ),
            difficulty=3,
        ),
        QuestionType(
            "majority",
            ("announcements", "withdrawals"),
            name_majority,
            (
                "Were there more announcements or more withdrawals for {scope}?",
                "What was more frequent, announcements or withdrawals for {scope}?",
                "Announcements or withdrawals: which were more numerous for {scope}?",
                "Which outnumbered the other, announcements or withdrawals for {scope}?",
                "Of announcements and withdrawals, what made up the greater part for {scope}?",
                "State which sort of update had the majority, announcements or withdrawals, for {scope}.",
                "Which occurred more often, withdrawals or announcements for {scope}?",
                "Tell me whether announcements or withdrawals prevailed for {scope}.",
            ),
            difficulty=3,
            choices=("announcements", "withdrawals"),
        ),
    ),
    draw_facts=draw_prefix_updates,
)
