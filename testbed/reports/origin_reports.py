"""Reports of a new origin of a prefix at a collector: hijacks of a prefix or of a part of one, and second origins."""

from collections.abc import Iterator

from testbed.internet.truth import has_origin
from testbed.reports.report_kind import QuestionType, ReportKind, ask_field
from testbed.reports.report_values import count_seconds
from testbed.reports.report_wording import Fields
from testbed.reports.reported_network import Element, ReportedNetwork


def draw_new_origins(network: ReportedNetwork) -> Iterator[Fields]:
    """For each hijack and second origin of the hour, and each collector where a peer took the route."""
    for event in network.recording.events:
        if event["kind"] not in ("prefix_hijack", "subprefix_hijack", "moas"):
            continue
        if event["kind"] == "moas":
            new = event["new_origin"]
            (owner,) = (asn for asn in event["origins"] if asn != new)
        else:
            new, owner = event["attacker"], event["victim"]
        seen = [element for element in network.elements if element.prefix == event["prefix"]]
        for collector in dict.fromkeys(feed.collector.name for feed in network.recording.world.feeds):
            here = [element for element in seen if element.feed.collector.name == collector]
            fields = _describe_spells(network, here, new)
            if not fields:
                continue
            if "covering_prefix" in event:
                fields["covering"] = network.names.name_prefix(event["covering_prefix"])
            yield {
                "prefix": network.names.name_prefix(event["prefix"]),
                "collector": network.names.name_thing("collector", collector),
                "new_origin": network.names.name_as(new),
                "owner": network.names.name_as(owner),
                **fields,
            }


def _describe_spells(network: ReportedNetwork, elements: list[Element], new: int) -> dict[str, str]:
    """When and where the new origin showed; empty if it never did. No end if a peer has the route to the last."""
    shows = has_origin(new)
    first: Element | None = None
    peers, holding, end = set[int](), set[str](), 0.0
    for element in elements:
        if shows(element.after):
            first = first or element
            peers.add(element.feed.asn)
            holding.add(element.feed.address)
        elif element.feed.address in holding:
            holding.remove(element.feed.address)
            end = element.time
    if first is None:
        return {}
    at_once = {each.feed.asn for each in elements if shows(each.after) and int(each.time) == int(first.time)}
    fields = {"first_time": network.names.format_clock(first.time), "peers": str(len(peers))}
    if len(at_once) == 1:
        fields["first_peer"] = network.names.name_as(first.feed.asn)
    if not holding:
        fields["last_time"] = network.names.format_clock(end)
    return fields


NEW_ORIGIN = ReportKind(
    name="new_origin",
    subject=("prefix", "collector"),
    titles=("New origin of {prefix}", "{prefix} at {collector}: another origin"),
    openings=(
        "At collector {collector} prefix {prefix} appeared with an origin it had not had before.",
        "Collector {collector} received routes to prefix {prefix} from an unexpected origin.",
        "A new origin of prefix {prefix} was seen by collector {collector}.",
    ),
    groups=(
        (
            "The new origin was {new_origin}, while the addresses belong to {owner}.",
            "The holder of the addresses is {owner}, but the routes ended in {new_origin}.",
            "It was {new_origin} that announced addresses of {owner}.",
        ),
        (
            "The first peer to take the route was {first_peer}.",
            "Peer {first_peer} had it before all others.",
        ),
        (
            "It was first seen at {first_time}.",
            "The beginning is dated {first_time}.",
        ),
        (
            "The last peer gave it up at {last_time}.",
            "It was gone from all peers at {last_time}.",
        ),
        (
            "Peers with this route: {peers}.",
            "The route was used by a number of peers, {peers} in all.",
        ),
        (
            "The addresses are a part of {covering}.",
            "The covering prefix is {covering}.",
        ),
    ),
    scopes=(
        "prefix {prefix} at collector {collector}",
        "{prefix} as collector {collector} saw it",
        "{prefix} from the viewpoint of collector {collector}",
        "the prefix {prefix} in the records of {collector}",
    ),
    types=(
        ask_field(
            "new_origin",
            "Which AS was the new origin of {scope}?",
            "Which AS appeared as an unexpected origin of {scope}?",
            "Name the AS that began to originate {scope}.",
            "Who announced the addresses of another network in {scope}?",
            "For {scope}, what is the AS number of the origin that had not been seen before?",
            "Could you identify the AS that surprisingly came up as an origin of {scope}?",
            "Which AS turned up at the end of the paths to {scope}?",
            "Tell me the AS that newly originated {scope}.",
        ),
        ask_field(
            "owner",
            "Which AS holds the addresses of {scope}?",
            "To which AS do the addresses belong in the case of {scope}?",
            "Name the holder of the addresses of {scope}.",
            "Which AS is the rightful user of the addresses of {scope}?",
            "Look up the AS that has been assigned the addresses of {scope}.",
            "Never mind the new origin: who is the proper owner of the addresses of {scope}?",
            "Whose addresses were announced by another AS in {scope}?",
            "Tell me the AS that owns the addresses of {scope}.",
        ),
        ask_field(
            "first_peer",
            "Which peer was the first to take the new route to {scope}?",
            "Who had the route of the new origin first, for {scope}?",
            "Name the first peer with the new origin of {scope}.",
            "From which peer came the earliest route of the new origin of {scope}?",
            "Ahead of all the others, what peer adopted the new origin of {scope}?",
            "Please look up the peer at which the new origin turned up first for {scope}.",
            "The peers with the new origin: which one was the earliest for {scope}?",
            "Tell me which peer led the way to the new origin of {scope}.",
        ),
        ask_field(
            "first_time",
            "When was the new origin first seen of {scope}?",
            "At what time did the new origin appear of {scope}?",
            "Give the time of the first route with the new origin of {scope}.",
            "When did the new origin show up for {scope}?",
            "From what time on was there a route with the new origin of {scope}?",
            "Could you check when a peer began to use the new origin of {scope}?",
            "At what time of day did it begin with the new origin of {scope}?",
            "Tell me the time stamp of the start of the new origin of {scope}.",
        ),
        ask_field(
            "last_time",
            "When did the last peer give up the new origin of {scope}?",
            "At what time was the new origin gone from all peers of {scope}?",
            "Give the time of the end of the new origin of {scope}.",
            "When was the route of the new origin dropped by the last peer for {scope}?",
            "Until what time did any peer still have the new origin of {scope}?",
            "I'd like to know when no peer was left with the new origin of {scope}.",
            "At what time of day was it over with the new origin of {scope}?",
            "Tell me the time stamp at which the new origin had vanished for {scope}.",
        ),
        ask_field(
            "peers",
            "How many peers had the route of the new origin of {scope}?",
            "What was the number of peers with the new origin of {scope}?",
            "Count the peers that used the new origin of {scope}.",
            "How many peers switched to the new origin of {scope}?",
            "In how many peers' routes did the new origin show up for {scope}?",
            "Expressed as a number of peers, how widely did the new origin spread for {scope}?",
            "How large was the group of peers with the new origin of {scope}?",
            "I need the count of peers that took the new origin of {scope}.",
        ),
        QuestionType(
            "duration",
            ("first_time", "last_time"),
            lambda fields: f"{count_seconds(fields['first_time'], fields['last_time'])} s",
            (
                "For how many seconds was the new origin visible of {scope}?",
                "How long did the new origin last for {scope}, in seconds?",
                "Compute the seconds from start to end of the new origin of {scope}.",
                "How many seconds passed until the new origin was gone from {scope}?",
                "Work out the time in seconds for which routes existed with the new origin of {scope}.",
                "From first sighting to final disappearance, how many seconds went by with the new origin of {scope}?",
                "What was the lifetime in seconds of the new origin of {scope}?",
                "I need the duration of the new origin of {scope} in seconds.",
            ),
            difficulty=3,
        ),
    ),
    draw_facts=draw_new_origins,
)
