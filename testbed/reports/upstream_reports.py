"""Reports of an AS: over which upstreams a collector's peers reach it."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import groupby

from testbed.internet.bgp import PathAttributes
from testbed.internet.truth import get_path
from testbed.reports.report_kind import QuestionType, ReportKind, ask_field
from testbed.reports.report_tables import find_extreme, list_other_pairs, list_row_keys, read_row, write_rows
from testbed.reports.report_values import measure, subtract
from testbed.reports.report_wording import Fields
from testbed.reports.reported_network import SLOTS, ReportedNetwork

FEWEST, MOST = 2, 4
"""Upstreams in a report."""
EVERY = 3
"""Slots from one report of an AS to the next."""
ROW = "{upstream} with {routes}"


def draw_upstreams(network: ReportedNetwork) -> Iterator[Fields]:
    """Every quarter of an hour, for each collector and origin with a number of upstreams there.

    An upstream is the AS in front of the origin, on a route that one of the collector's peers has then.
    """
    name, feeds = network.names.name_as, network.recording.world.feeds
    for moment in SLOTS[::EVERY]:
        routes: dict[tuple[str, int], Counter[int]] = defaultdict(Counter)
        prefixes: dict[tuple[str, int], set[str]] = defaultdict(set)
        for feed, table in zip(feeds, network.list_tables(moment), strict=True):
            for prefix, attributes in table.items():
                if hop := find_last_hop(attributes):
                    routes[feed.collector.name, hop[1]][hop[0]] += 1
                    prefixes[feed.collector.name, hop[1]].add(prefix)
        for (collector, origin), upstreams in routes.items():
            if not FEWEST <= len(upstreams) <= MOST:
                continue
            rows = [{"upstream": name(asn), "routes": str(upstreams[asn])} for asn in sorted(upstreams)]
            yield {
                "origin": name(origin),
                "collector": network.names.name_thing("collector", collector),
                "time": network.names.format_minute(moment),
                "rows": write_rows(ROW, rows),
                "routes": str(upstreams.total()),
                "prefixes": str(len(prefixes[collector, origin])),
            }


def find_last_hop(attributes: PathAttributes) -> tuple[int, int] | None:
    """(upstream, origin) of a route; None if the peer itself is the origin. A prepended AS counts once."""
    path = [asn for asn, _ in groupby(get_path(attributes))]
    return (path[-2], path[-1]) if len(path) > 1 else None


def compare_upstreams(fields: Fields) -> str | None:
    """By how many routes the first upstream leads; None if it does not."""
    one, other = (read_row(ROW, fields, "upstream", fields[name])["routes"] for name in ("upstream", "other"))
    return subtract(one, other) if measure(one) > measure(other) else None


AS_UPSTREAMS = ReportKind(
    name="as_upstreams",
    subject=("origin", "collector", "time"),
    titles=("Upstreams of {origin}", "How {collector} reaches {origin}", "{origin} at {time}"),
    openings=(
        "At {time} the peers of collector {collector} had these routes to the prefixes of {origin}.",
        "Seen from collector {collector} at {time}, traffic to {origin} could take the following ways.",
        "This is the view of {origin} in the tables of collector {collector} at {time}.",
    ),
    groups=(
        (
            "Routes by upstream: {rows}.",
            "The upstreams of the origin and their routes were these: {rows}.",
            "In front of the origin stood, by number of routes, {rows}.",
        ),
        (
            "The origin announced {prefixes} prefixes, reached over {routes} routes in all.",
            "All in all there were {routes} routes to {prefixes} prefixes.",
            "Prefixes: {prefixes}, routes to them: {routes}.",
        ),
    ),
    scopes=(
        "{origin} at collector {collector} at {time}",
        "{origin} in the tables of {collector} at {time}",
        "{origin} in the snapshot that collector {collector} took at {time}",
        "{origin} as seen at {time} by {collector}",
    ),
    types=(
        QuestionType(
            "main",
            ("rows",),
            lambda fields: find_extreme(ROW, fields, "upstream", "routes", max),
            (
                "Which upstream had the most routes to {scope}?",
                "Over which upstream did most of the routes lead to {scope}?",
                "Name the main upstream of {scope}.",
                "Which upstream was used by the largest number of routes to {scope}?",
                "Looking at route counts, who was the dominant upstream of {scope}?",
                "Could you identify the upstream that carried more routes than any other to {scope}?",
                "The upstream with the highest route count: which is it for {scope}?",
                "Through which neighbour was the bulk of the routes to {scope}?",
            ),
            difficulty=3,
        ),
        QuestionType(
            "least",
            ("rows",),
            lambda fields: find_extreme(ROW, fields, "upstream", "routes", min),
            (
                "Which upstream had the fewest routes to {scope}?",
                "Over which upstream did the smallest number of routes lead to {scope}?",
                "Name the least used upstream of {scope}.",
                "Which upstream was used by the fewest routes to {scope}?",
                "Of all the upstreams in use, who came last by route count for {scope}?",
                "Please identify the upstream that carried fewer routes than any other to {scope}.",
                "The upstream with the lowest route count: which is it for {scope}?",
                "Through which neighbour was the smallest share of the routes to {scope}?",
            ),
            difficulty=3,
        ),
        QuestionType(
            "routes_over",
            ("rows",),
            lambda fields: read_row(ROW, fields, "upstream", fields["upstream"])["routes"],
            (
                "How many routes over {upstream} led to {scope}?",
                "What number of routes had the upstream {upstream} to {scope}?",
                "Give the routes over upstream {upstream} to {scope}.",
                "Through {upstream}, how many routes were there to {scope}?",
                "With {upstream} as the upstream, how many routes existed to {scope}?",
                "Could you look up how many of the routes used {upstream} to get to {scope}?",
                "How often did {upstream} stand in front of {scope}?",
                "I need the route count of upstream {upstream} to {scope}.",
            ),
            difficulty=2,
            list_asked=lambda fields: list_row_keys(ROW, fields, "upstream"),
        ),
        ask_field(
            "prefixes",
            "How many prefixes were announced by {scope}?",
            "What was the number of prefixes of {scope}?",
            "Count the prefixes of {scope}.",
            "How many different prefixes had {scope}?",
            "For {scope}, to how many distinct prefixes were there routes?",
            "Could you check how many prefixes have their origin in {scope}?",
            "How large was the set of prefixes of {scope}?",
            "I need the prefix count of {scope}.",
        ),
        ask_field(
            "routes",
            "How many routes were there in all to {scope}?",
            "What was the total number of routes to {scope}?",
            "Count all routes to {scope}.",
            "How many routes led over any upstream to {scope}?",
            "Adding up all upstreams, what is the number of routes to {scope}?",
            "Please report the grand total of routes to {scope}.",
            "How large was the sum of all routes to {scope}?",
            "I need the overall route count to {scope}.",
        ),
        QuestionType(
            "lead",
            ("rows",),
            compare_upstreams,
            (
                "How many more routes over {upstream} than over {other} led to {scope}?",
                "By how many routes did {upstream} exceed {other} on the way to {scope}?",
                "What is the difference in routes between {upstream} and {other} to {scope}?",
                "How far was {upstream} ahead of {other} in routes to {scope}?",
                "Relative to {other}, how many additional routes went over {upstream} to {scope}?",
                "Work out how many more routes {other} would need to draw level with {upstream} in reaching {scope}.",
                "Subtract the routes over {other} from those over {upstream} to {scope}.",
                "I need the lead of {upstream} over {other}, in routes to {scope}.",
            ),
            difficulty=3,
            list_asked=lambda fields: list_other_pairs(ROW, fields, "upstream"),
        ),
    ),
    draw_facts=draw_upstreams,
)
