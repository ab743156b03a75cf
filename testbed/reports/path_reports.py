"""Reports of AS paths: a route before and after an update at a vantage point."""

from collections import Counter
from collections.abc import Iterator

from testbed.internet.bgp import PathAttributes
from testbed.internet.truth import get_path
from testbed.reports.report_kind import QuestionType, ReportKind, ask_field
from testbed.reports.report_wording import Fields
from testbed.reports.reported_network import ReportedNetwork

LONGEST = 5
"""ASes on a path in a report: longer ones would not fit."""


def draw_path_changes(network: ReportedNetwork) -> Iterator[Fields]:
    """Each announcement that replaces a route, where both paths are short and without prepending.

    A peer with two sessions for the same prefix is left out: its route would not be one.
    """
    sessions = Counter((feed.asn, feed.ip_version) for feed in network.recording.world.feeds)
    for element in network.elements:
        if element.before is None or element.after is None or sessions[element.feed.asn, element.feed.ip_version] > 1:
            continue
        before, after = get_path(element.before), get_path(element.after)
        if any(not 2 <= len(path) <= LONGEST or len(set(path)) < len(path) for path in (before, after)):
            continue
        fields = {
            "prefix": network.names.name_prefix(element.prefix),
            "peer": network.names.name_as(element.feed.asn),
            "time": network.names.format_clock(element.time),
            "before": network.names.name_path(before),
            "after": network.names.name_path(after),
        }
        yield fields | _describe_metrics(element.before, element.after)


def _describe_metrics(before: PathAttributes, after: PathAttributes) -> dict[str, str]:
    if before.med is None or after.med is None:
        return {}
    return {"med_before": str(before.med), "med": str(after.med)}


def find_only(some: str, others: str) -> str | None:
    """The AS that is on the path `some` but not on `others`; None unless it is exactly one."""
    found = [asn for asn in some.split() if asn not in others.split()]
    return found[0] if len(found) == 1 else None


def compare_lengths(fields: Fields) -> str:
    change = len(fields["after"].split()) - len(fields["before"].split())
    return "longer" if change > 0 else "shorter" if change < 0 else "as long"


PATH_CHANGE = ReportKind(
    name="path_change",
    subject=("prefix", "peer", "time"),
    titles=("Route of {peer}", "{peer} at {time}", "One update from {peer}"),
    openings=(
        "At {time} vantage point {peer} announced prefix {prefix} again.",
        "Vantage point {peer} sent an update of prefix {prefix} at {time}.",
        "An announcement of prefix {prefix} by vantage point {peer} is dated {time}.",
    ),
    groups=(
        (
            "The AS path was {before} before and {after} afterwards.",
            "Until then the AS path had been {before}; in the update it was {after}.",
            "The update carried the AS path {after}, and the route in use until then {before}.",
        ),
        (
            "The MED was {med_before} before and {med} in the update.",
            "With it came MED {med}, in place of MED {med_before}.",
        ),
    ),
    scopes=(
        "{prefix} at vantage point {peer} at {time}",
        "prefix {prefix} in the update from {peer} at {time}",
        "{prefix} in the announcement made at {time} by vantage point {peer}",
        "{prefix} when {peer} announced it at {time}",
    ),
    types=(
        QuestionType(
            "changed",
            ("before", "after"),
            lambda fields: "yes" if fields["before"] != fields["after"] else "no",
            (
                "Did the AS path change for {scope}?",
                "Was the AS path a different one after the update for {scope}?",
                "Is there a difference between the old and the new AS path for {scope}?",
                "Did the update alter the AS path for {scope}?",
                "For {scope}, does the new AS path deviate in any way from the previous one?",
                "Can you check whether the AS path was replaced with another one for {scope}?",
                "Do the two AS paths differ for {scope}?",
                "Answer yes or no: was another AS path in use afterwards for {scope}?",
            ),
            difficulty=3,
            choices=("yes", "no"),
        ),
        QuestionType(
            "joined",
            ("before", "after"),
            lambda fields: find_only(fields["after"], fields["before"]),
            (
                "Which AS joined the path for {scope}?",
                "Which AS is on the new path but not on the old one for {scope}?",
                "Name the AS that was added to the path for {scope}.",
                "Which AS appeared on the path with the update for {scope}?",
                "Compared with the previous path, what AS is additional on the new one for {scope}?",
                "Could you point out the AS that newly entered the AS path for {scope}?",
                "Find the AS that only the later path contains for {scope}.",
                "Which newcomer is on the path for {scope}?",
            ),
            difficulty=3,
        ),
        QuestionType(
            "left",
            ("before", "after"),
            lambda fields: find_only(fields["before"], fields["after"]),
            (
                "Which AS left the path for {scope}?",
                "Which AS is on the old path but not on the new one for {scope}?",
                "Name the AS that was removed from the path for {scope}.",
                "Which AS disappeared from the path with the update for {scope}?",
                "After the update, what AS had dropped out of the path for {scope}?",
                "Please identify the AS that the route ceased to pass through for {scope}.",
                "Find the AS that only the earlier path contains for {scope}.",
                "Which AS is no longer on the path for {scope}?",
            ),
            difficulty=3,
        ),
        QuestionType(
            "length",
            ("before", "after"),
            compare_lengths,
            (
                "Was the new AS path longer, shorter or as long as the old one for {scope}?",
                "Did the AS path get longer, get shorter or stay as long for {scope}?",
                "Compare the lengths: longer, shorter or as long afterwards for {scope}?",
                "Is the later path longer, shorter or as long as the earlier one for {scope}?",
                "Would you call the new AS path longer, shorter or as long as before for {scope}?",
                "State whether the AS path became longer, became shorter or remained as long for {scope}.",
                "By number of ASes, is the new path longer, shorter or as long for {scope}?",
                "Longer, shorter or as long: what did the path become for {scope}?",
            ),
            difficulty=3,
            choices=("longer", "shorter", "as long"),
        ),
        QuestionType(
            "next_hop",
            ("after",),
            lambda fields: fields["after"].split()[1],
            (
                "Which AS comes directly after the vantage point on the new path for {scope}?",
                "From which neighbour did the vantage point have the new route for {scope}?",
                "Name the second AS of the new path for {scope}.",
                "Which AS stands next to the vantage point in the later AS path for {scope}?",
                "Once the update was in effect, what AS served as the vantage point's next hop for {scope}?",
                "Could you look up the AS that immediately follows the vantage point on the new path for {scope}?",
                "The new path's second AS: which is it for {scope}?",
                "Through which neighbouring AS did the vantage point route afterwards for {scope}?",
            ),
            difficulty=2,
        ),
        QuestionType(
            "old_next_hop",
            ("before",),
            lambda fields: fields["before"].split()[1],
            (
                "Which AS came directly after the vantage point on the old path for {scope}?",
                "From which neighbour did the vantage point have the old route for {scope}?",
                "Name the second AS of the old path for {scope}.",
                "Which AS stood next to the vantage point in the earlier AS path for {scope}?",
                "Prior to the update, what AS came next in the path after the vantage point for {scope}?",
                "Look up the neighbour that had supplied the vantage point with the previous route for {scope}.",
                "The old path's second AS: which was it for {scope}?",
                "Through which neighbouring AS had the vantage point routed until then for {scope}?",
            ),
            difficulty=2,
        ),
        QuestionType(
            "origin",
            ("after",),
            lambda fields: fields["after"].split()[-1],
            (
                "Which AS originates the new route for {scope}?",
                "What is the origin AS of the new path for {scope}?",
                "Name the last AS of the new path for {scope}.",
                "At which AS does the later path end for {scope}?",
                "Following the new path to its very end, what AS do you reach for {scope}?",
                "For {scope}, in what AS does the announced route originate?",
                "The new path's final AS: which is it for {scope}?",
                "Which AS was the source of the announced route for {scope}?",
            ),
            difficulty=2,
        ),
        ask_field(
            "med",
            "What was the new MED for {scope}?",
            "Which MED did the update carry for {scope}?",
            "Give the MED after the update for {scope}.",
            "What metric (MED) came with the announcement for {scope}?",
            "For {scope}, what MED was in effect once the update had been received?",
            "Could you look up the MED value that accompanied the new route for {scope}?",
            "To which value did the update set the MED for {scope}?",
            "Tell me the MED of the later route for {scope}.",
            difficulty=2,
        ),
        ask_field(
            "med_before",
            "What was the old MED for {scope}?",
            "Which MED did the route have before the update for {scope}?",
            "Give the MED until the update for {scope}.",
            "What metric (MED) did the announcement replace for {scope}?",
            "Before the update arrived, what had the MED been set to for {scope}?",
            "Please look up the MED value that was then superseded for {scope}.",
            "At which value had the MED been until then for {scope}?",
            "Tell me the MED of the earlier route for {scope}.",
            difficulty=2,
        ),
    ),
    draw_facts=draw_path_changes,
)
