"""Reports of a loss of routes: a prefix that a collector's peers withdraw and announce again."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from testbed.reports.report_kind import QuestionType, ReportKind, ask_field
from testbed.reports.report_values import count_seconds
from testbed.reports.report_wording import Fields
from testbed.reports.reported_network import Element, ReportedNetwork


@dataclass
class RouteLoss:
    """From the first withdrawal by a peer of the collector until all peers that withdrew have the prefix again."""

    withdrawals: list[Element] = field(default_factory=list)
    returns: list[Element] = field(default_factory=list)
    without: set[str] = field(default_factory=set)
    """Addresses of the peers that have no route now."""


def find_losses(network: ReportedNetwork) -> Iterator[tuple[str, str, RouteLoss]]:
    """(collector, prefix, loss) for each loss that ended within the hour, ordered by end."""
    running: dict[tuple[str, str], RouteLoss] = defaultdict(RouteLoss)
    for element in network.elements:
        key = element.feed.collector.name, element.prefix
        if element.after is None and element.before is not None:
            running[key].withdrawals.append(element)
            running[key].without.add(element.feed.address)
        elif element.after is not None and element.feed.address in running[key].without:
            running[key].returns.append(element)
            running[key].without.remove(element.feed.address)
            if not running[key].without:
                yield *key, running.pop(key)


def draw_losses(network: ReportedNetwork) -> Iterator[Fields]:
    for collector, prefix, loss in find_losses(network):
        first, last = loss.withdrawals[0], loss.returns[-1]
        fields = {
            "prefix": network.names.name_prefix(prefix),
            "collector": network.names.name_thing("collector", collector),
            "time": network.names.format_clock(first.time),
            "last_time": network.names.format_clock(last.time),
            "peers": str(len({each.feed.asn for each in loss.withdrawals})),
        }
        for name, edge, elements in (("first_peer", first, loss.withdrawals), ("last_peer", last, loss.returns)):
            if len({each.feed.asn for each in elements if int(each.time) == int(edge.time)}) == 1:
                fields[name] = network.names.name_as(edge.feed.asn)
        yield fields


ROUTE_LOSS = ReportKind(
    name="route_loss",
    subject=("prefix", "collector", "time"),
    titles=("Loss of {prefix}", "{prefix} withdrawn at {collector}", "Outage seen by {collector}"),
    openings=(
        "At {time} collector {collector} began to lose its routes to prefix {prefix}.",
        "Prefix {prefix} became unreachable for peers of collector {collector} at {time}.",
        "An outage of prefix {prefix} began at collector {collector} at {time}.",
    ),
    groups=(
        (
            "The first withdrawal came from {first_peer}.",
            "It was {first_peer} that withdrew it first.",
        ),
        (
            "All routes were back at {last_time}.",
            "The outage was over at {last_time}.",
        ),
        (
            "The last peer to have a route again was {last_peer}.",
            "Peer {last_peer} was the last to return.",
        ),
        (
            "Peers that lost the route: {peers}.",
            "The outage hit a number of peers, {peers} in all.",
        ),
    ),
    scopes=(
        "{prefix} at collector {collector} that began at {time}",
        "prefix {prefix} at {collector}, begun at {time}",
        "{prefix} starting at {time} at collector {collector}",
        "{prefix} that collector {collector} saw begin at {time}",
    ),
    types=(
        ask_field(
            "first_peer",
            "Which peer was the first to withdraw in the outage of {scope}?",
            "Who withdrew the route first in the outage of {scope}?",
            "Name the peer of the first withdrawal in the outage of {scope}.",
            "From which peer came the earliest withdrawal in the outage of {scope}?",
            "In the outage of {scope}, whose withdrawal came before all others?",
            "Could you look up the peer that lost its route first in the outage of {scope}?",
            "Which peer opened the outage of {scope}?",
            "Tell me which AS led the withdrawals in the outage of {scope}.",
        ),
        ask_field(
            "last_peer",
            "Which peer was the last to return after the outage of {scope}?",
            "Who had a route again last after the outage of {scope}?",
            "Name the peer whose route came back last after the outage of {scope}.",
            "From which peer came the latest return after the outage of {scope}?",
            "As for the outage of {scope}, who was the final peer to regain a route?",
            "Identify the peer that was the only one still without a route at the very end of the outage of {scope}.",
            "Which peer closed the outage of {scope}?",
            "Tell me which AS was the slowest to come back from the outage of {scope}.",
        ),
        ask_field(
            "last_time",
            "When were all routes back after the outage of {scope}?",
            "At what time was it over with the outage of {scope}?",
            "Give the end time of the outage of {scope}.",
            "When exactly did the outage end of {scope}?",
            "By what time had every affected peer regained its route after the outage of {scope}?",
            "Could you check when there was full recovery from the outage of {scope}?",
            "Which time of day marks the end of the outage of {scope}?",
            "Tell me the time stamp of the recovery from the outage of {scope}.",
        ),
        ask_field(
            "peers",
            "How many peers lost the route in the outage of {scope}?",
            "What was the number of peers hit by the outage of {scope}?",
            "Count the peers without a route in the outage of {scope}.",
            "How many peers withdrew in the outage of {scope}?",
            "During the outage of {scope}, from how many different peers was a withdrawal received?",
            "Put a figure on the peers that were cut off by the outage of {scope}.",
            "How large was the group of peers affected by the outage of {scope}?",
            "I need the count of peers that lost the prefix in the outage of {scope}.",
        ),
        QuestionType(
            "duration",
            ("time", "last_time"),
            lambda fields: f"{count_seconds(fields['time'], fields['last_time'])} s",
            (
                "How many seconds did it last, the outage of {scope}?",
                "How long was the outage, in seconds, of {scope}?",
                "Compute the seconds from start to end of the outage of {scope}.",
                "How many seconds passed until all was back after the outage of {scope}?",
                "Work out the downtime in seconds due to the outage of {scope}.",
                "Between the first withdrawal and full recovery, how many seconds went by in the outage of {scope}?",
                "What was the length in seconds of the outage of {scope}?",
                "I need the duration in seconds of the outage of {scope}.",
            ),
            difficulty=3,
        ),
    ),
    draw_facts=draw_losses,
)
