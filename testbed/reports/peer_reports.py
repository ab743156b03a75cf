"""Reports of a collector's peers: how many prefixes each announced and withdrew in five minutes."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from testbed.reports.report_kind import QuestionType, ReportKind
from testbed.reports.report_tables import find_extreme, list_other_pairs, list_row_keys, read_row, write_rows
from testbed.reports.report_values import measure, subtract
from testbed.reports.report_wording import Fields
from testbed.reports.reported_network import SLOT, ReportedNetwork

PEERS_SHOWN = 4
PEER_ROW = "{peer} announced {announced} and withdrew {withdrawn}"


def draw_peer_updates(network: ReportedNetwork) -> Iterator[Fields]:
    """For each collector and five minutes, the peers that sent the most announced prefixes, ordered by number."""
    counts: dict[tuple[str, int], dict[int, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for element in network.elements:
        slot = int(element.time) // SLOT * SLOT
        sort = "withdrawn" if element.after is None else "announced"
        counts[element.feed.collector.name, slot][element.feed.asn][sort] += 1
    for (collector, slot), peers in counts.items():
        busiest = sorted(peers, key=lambda asn: (-peers[asn].total(), asn))[:PEERS_SHOWN]
        if len(busiest) < PEERS_SHOWN:
            continue
        rows = [
            {
                "peer": network.names.name_as(asn),
                "announced": str(peers[asn]["announced"]),
                "withdrawn": str(peers[asn]["withdrawn"]),
            }
            for asn in sorted(busiest)
        ]
        yield {
            "collector": network.names.name_thing("collector", collector),
            **network.name_interval(slot),
            "rows": write_rows(PEER_ROW, rows),
            "peers": str(len(peers)),
            "announcements": str(sum(each["announced"] for each in peers.values())),
        }


def ask_peer(name: str, *wordings: str, field: str) -> QuestionType:
    return QuestionType(
        name,
        ("rows",),
        lambda fields: read_row(PEER_ROW, fields, "peer", fields["peer"])[field],
        wordings,
        difficulty=2,
        list_asked=lambda fields: list_row_keys(PEER_ROW, fields, "peer"),
    )


def compare_peers(fields: Fields) -> str | None:
    """By how many announcements the first peer leads; None if it does not."""
    one, other = (read_row(PEER_ROW, fields, "peer", fields[name])["announced"] for name in ("peer", "other"))
    return subtract(one, other) if measure(one) > measure(other) else None


PEER_UPDATES = ReportKind(
    name="peer_updates",
    subject=("collector", "start", "end"),
    titles=("Peers of {collector}", "Updates by peer, {collector}, {start}"),
    openings=(
        "Between {start} and {end} collector {collector} counted the prefixes in its peers' updates.",
        "The following counts are of prefixes in updates that peers sent to {collector} from {start} to {end}.",
        "Collector {collector}, {start} to {end}: prefixes in updates, by peer.",
    ),
    groups=(
        ("The busiest peers: {rows}.", "The four largest senders were these: {rows}.", "By peer: {rows}."),
        (
            "All peers together: {peers} senders with {announcements} announced prefixes.",
            "In total, {announcements} prefixes were announced by all {peers} senders.",
        ),
    ),
    scopes=(
        "collector {collector} between {start} and {end}",
        "route collector {collector} from {start} to {end}",
        "BGP collector {collector} in the window from {start} to {end}",
        "the collector {collector} in the interval {start} to {end}",
    ),
    types=(
        ask_peer(
            "announced",
            "How many prefixes did peer {peer} announce to {scope}?",
            "What number of prefixes did {peer} announce to {scope}?",
            "Give the announced prefixes of peer {peer} at {scope}.",
            "At {scope}: how many prefixes were announced by {peer}?",
            "From {peer}, how many announced prefixes were received at {scope}?",
            "Could you look up the figure for prefixes announced by {peer} at {scope}?",
            "Count what peer {peer} announced to {scope}.",
            "I need the number of prefixes that {peer} announced at {scope}.",
            field="announced",
        ),
        ask_peer(
            "withdrawn",
            "How many prefixes did peer {peer} withdraw from {scope}?",
            "What number of prefixes did {peer} withdraw at {scope}?",
            "Give the withdrawn prefixes of peer {peer} at {scope}.",
            "At {scope}: how many prefixes were withdrawn by {peer}?",
            "Looking only at withdrawals, how many prefixes did {peer} account for at {scope}?",
            "Please state the withdrawn-prefix count recorded for {peer} at {scope}.",
            "Count what peer {peer} withdrew at {scope}.",
            "I need the number of prefixes that {peer} withdrew at {scope}.",
            field="withdrawn",
        ),
        QuestionType(
            "busiest",
            ("rows",),
            lambda fields: find_extreme(PEER_ROW, fields, "peer", "announced", max),
            (
                "Which peer announced the most prefixes to {scope}?",
                "Who announced the largest number of prefixes to {scope}?",
                "Name the peer with the most announced prefixes at {scope}.",
                "At {scope}, which AS led in announced prefixes?",
                "In terms of announced prefixes, who was the biggest sender to {scope}?",
                "Could you check who outdid all other peers in announced prefixes at {scope}?",
                "Which peer of {scope} tops the list by announced prefixes?",
                "Find the peer with the highest number of announced prefixes at {scope}.",
            ),
            difficulty=3,
        ),
        QuestionType(
            "quietest",
            ("rows",),
            lambda fields: find_extreme(PEER_ROW, fields, "peer", "announced", min),
            (
                "Of the peers listed, which one announced the fewest prefixes to {scope}?",
                "Who among the listed peers announced the smallest number of prefixes to {scope}?",
                "Name the listed peer with the fewest announced prefixes at {scope}.",
                "At {scope}, which of the listed ASes came last in announced prefixes?",
                "Among those listed, whose total of announced prefixes was the smallest at {scope}?",
                "Please identify the listed peer that contributed least in announced prefixes to {scope}.",
                "Which listed peer of {scope} stands at the bottom by announced prefixes?",
                "Find the peer with the lowest number of announced prefixes in the list of {scope}.",
            ),
            difficulty=3,
        ),
        QuestionType(
            "lead",
            ("rows",),
            compare_peers,
            (
                "How many more prefixes did {peer} announce than {other} to {scope}?",
                "By how many announced prefixes did {peer} exceed {other} at {scope}?",
                "What is the difference between the announced prefixes of {peer} and {other} at {scope}?",
                "At {scope}, how far was {peer} ahead of {other} in announced prefixes?",
                "Compared with {other}, how many extra prefixes did {peer} announce to {scope}?",
                "Work out by how many announced prefixes {other} fell short of {peer} at {scope}.",
                "Subtract the announced prefixes of {other} from those of {peer} at {scope}.",
                "I need the lead of {peer} over {other} in announced prefixes at {scope}.",
            ),
            difficulty=3,
            list_asked=lambda fields: list_other_pairs(PEER_ROW, fields, "peer"),
        ),
    ),
    draw_facts=draw_peer_updates,
)
