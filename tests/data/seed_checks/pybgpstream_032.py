"""Checks of pybgpstream-032 to pybgpstream-062."""

import ast
import ipaddress
from collections import Counter, defaultdict
from datetime import UTC, datetime
from itertools import pairwise
from math import inf

from tests.data.seed_checks import NOW, Ran, assert_picture, assert_top, check
from tests.support.mrt_elements import Element

STEPS = {4: 24, 6: 48}
"""The longest prefixes that are commonly accepted (RFC 7454)."""


def _peers(ran: Ran, *collectors: str) -> set[str]:
    return {peer["address"] for name in collectors for peer in ran.archive.truth["collectors"][name]["peers"]}


def _updates(ran: Ran, *collectors: str, minutes: int = 60, kinds: str = "AW") -> list[Element]:
    last = NOW + minutes * 60
    told = [each for name in collectors for each in ran.archive.list_elements(name, "updates")]
    return [each for each in told if each.kind in kinds and int(each.time) <= last]


def _histories(ran: Ran, *collectors: str) -> dict[tuple[str, str], list[Element]]:
    peers = _peers(ran, *collectors)
    return {key: history for key, history in ran.archive.histories.items() if key[0] in peers}


def _is_version_4(prefix: str) -> bool:
    return ipaddress.ip_network(prefix).version == 4


def _is_near(text: str, time: float) -> bool:
    """Streams are in the order of whole seconds: of several collectors' elements, the first may not be the earliest."""
    return float(text) == time or abs(float(text) - time) <= 1


@check("pybgpstream-032")
def a_second_origin_is_reported_with_the_sessions_that_saw_it(ran: Ran) -> None:
    [event] = ran.archive.list_events("moas")
    peers = _peers(ran, "rrc00", "route-views.sg")
    seen = {peer: time for peer, time in event["first_seen"].items() if peer in peers}
    [old] = ran.archive.truth["origins"][event["prefix"]]
    asked = datetime(2024, 1, 11, 8, tzinfo=UTC).timestamp()
    first = min(seen.values()) - NOW + asked
    assert ran.lines == [f"{first:.0f} {event['prefix']} {old} -> {event['new_origin']} seen by {len(seen)}"]


@check("pybgpstream-034")
def prefixes_are_counted_for_every_member_of_a_set(ran: Ran) -> None:
    pairs = {(asn, each.prefix) for each in ran.archive.list_elements("route-views2", "ribs") for asn in each.origins}
    assert any(len(each.origins) > 1 for each in ran.archive.list_elements("route-views2", "ribs"))
    counts = Counter(asn for asn, _ in pairs)
    assert ran.lines == [f"{asn} {counts[asn]}" for asn in sorted(counts)]


@check("pybgpstream-035", same_everywhere=True)
def a_prefix_that_many_peers_repeat_is_counted_once(ran: Ran) -> None:
    routes = [each.prefix for each in ran.archive.list_elements("route-views.sg", "ribs") if each.origins == (15169,)]
    assert ran.lines == [str(len(set(routes)))] == ["3"]  # what stands in for Google has them on every network
    assert len(routes) > 2 * len(set(routes))


@check("pybgpstream-037")
def every_long_run_of_an_as_is_listed_by_its_role(ran: Ran) -> None:
    longest: dict[tuple[str, str], int] = {}
    prefixes = defaultdict(set)
    for each in _updates(ran, "rrc04", "route-views2", kinds="A"):
        path = each.path.split()
        for asn in set(path):
            copies = max(number for number in range(1, len(path) + 1) if f" {asn}" * number in f" {each.path}")
            if copies >= 3:
                key = asn, "origin" if path[-1] == asn else "transit"
                longest[key] = max(copies, longest.get(key, 0))
                prefixes[key].add(each.prefix)
    lines = {f"AS{asn} {role} run {longest[asn, role]} prefixes {len(prefixes[asn, role])}" for asn, role in longest}
    assert len(ran.lines) == len(lines)
    assert set(ran.lines) == lines
    runs = [int(line.split()[3]) for line in ran.lines]
    assert runs == sorted(runs, reverse=True)
    peers = _peers(ran, "rrc04", "route-views2")
    planted = [each for each in ran.archive.list_events("prepending") if peers & set(each["peers_affected"])]
    assert {(str(each["asn"]), each["role"]) for each in planted if each["extra"] >= 2} <= longest.keys()


@check("pybgpstream-038")
def the_prefixes_with_most_lengthened_paths_are_ranked(ran: Ran) -> None:
    grown: dict[str, list[int]] = defaultdict(list)
    for (_, prefix), history in _histories(ran, "rrc00", "route-views.sg").items():
        lengths = [len(dict.fromkeys(each.path.split())) for each in history if each.time <= NOW + 1200 and each.path]
        if history[0].kind == "R" and max(lengths) >= lengths[0] + 2:
            grown[prefix].append(max(lengths) - lengths[0])
    shown = [(line.split()[0], int(line.split()[1])) for line in ran.lines]
    assert_top(shown, {prefix: len(extra) for prefix, extra in grown.items()}, 10)
    assert ran.lines == [f"{name} {number} +{sum(grown[name]) / number:.1f}" for name, number in shown]
    [event] = ran.archive.list_events("route_leak")
    assert {name for name, _ in shown} & set(event["prefixes"])


@check("pybgpstream-039")
def blackholed_hosts_are_followed_from_the_first_tag_to_the_last_session(ran: Ran) -> None:
    starts, ends = defaultdict(list), defaultdict(list)
    for (_, prefix), history in _histories(ran, "route-views2", "rrc04").items():
        tagged = [at for at, each in enumerate(history) if "65535:666" in each.communities]
        if tagged:
            starts[prefix].append(history[tagged[0]].time)
            ends[prefix].append(history[tagged[-1] + 1].time if tagged[-1] + 1 < len(history) else inf)
    assert starts.keys() == {event["prefix"] for event in ran.archive.list_events("blackholing")}
    assert sorted(line.split()[0] for line in ran.lines) == sorted(starts)
    for prefix, start, end, sessions in map(str.split, ran.lines):
        assert _is_near(start, min(starts[prefix]))
        assert _is_near(end.replace("open", "inf"), max(ends[prefix]))
        assert int(sessions) == len(starts[prefix])


@check("pybgpstream-040")
def the_first_communities_of_the_collector_are_printed_one_by_one(ran: Ran) -> None:
    first = next(each for each in _updates(ran, "route-views.sg", minutes=15, kinds="A") if each.communities)
    assert ran.lines == sorted(first.communities)
    assert len(ran.lines) > 1


@check("pybgpstream-041")
def definers_are_shown_with_their_routes_and_with_those_still_marked(ran: Ran) -> None:
    table = ran.archive.list_elements("route-views2", "ribs")
    definers = {value.split(":")[0] for each in table for value in each.communities}
    on_path = {asn: [each for each in table if int(asn) in each.sequence] for asn in definers}
    marked = {
        asn: sum(any(value.startswith(f"{asn}:") for value in each.communities) for each in routes)
        for asn, routes in on_path.items()
    }
    shown = [(line.split(":")[0].removeprefix("AS"), int(line.split()[-1])) for line in ran.lines]
    assert_top(shown, marked)
    assert ran.lines == [f"AS{asn}: in {len(on_path[asn])} paths, communities left on {left}" for asn, left in shown]
    assert any(left < len(on_path[asn]) for asn, left in shown)


@check("pybgpstream-042")
def the_lost_session_is_reported_with_its_downtime(ran: Ran) -> None:
    [event] = ran.archive.list_events("peer_down")
    lost = f"{datetime.fromtimestamp(event['start'], UTC):%H:%M:%S}"
    down = event["end"] - event["start"]
    peer = f"{event['collector']} {event['peer_asn']} {event['peer']}"
    assert ran.lines == [f"{peer} lost {lost} down {down} s", "sessions restored: 1"]


def _gaps(histories: list[list[Element]]) -> list[tuple[float, float]]:
    """When none of the sessions had the prefix, which some had at 08:00: where the gaps of all of them overlap."""
    common = [(-inf, inf)]
    for history in histories:
        gone = [] if history[0].kind == "R" else [-inf]
        gaps = []
        for each in history:
            if each.kind == "W":
                gone.append(each.time)
            elif gone:
                gaps.append((gone[0], each.time))
                gone = []
        gaps += [(gone[0], inf)] if gone else []
        pairs = [(max(a, c), min(b, d)) for a, b in common for c, d in gaps]
        common = [(start, end) for start, end in pairs if start < end]
    return common


@check("pybgpstream-044")
def prefixes_that_vanished_from_all_sessions_are_listed(ran: Ran) -> None:
    sessions = defaultdict(list)
    for (_, prefix), history in _histories(ran, "rrc00", "route-views2").items():
        sessions[prefix].append(history)
    expected = []
    for prefix, histories in sessions.items():
        paths = [history[0].path for history in histories if history[0].kind == "R"]
        if len(paths) >= 5:
            expected += [(prefix, *gap, {path.split()[-1] for path in paths}) for gap in _gaps(histories)]
    shown = [line.split() for line in ran.lines]
    assert len(shown) == len(expected)
    for words, (prefix, start, end, origins) in zip(
        sorted(shown, key=lambda words: words[1::2]), sorted(expected, key=lambda gap: (gap[0], gap[1])), strict=True
    ):
        assert words[1] == prefix
        assert words[0].removeprefix("AS") in origins
        assert _is_near(words[3], start)
        assert words[4:] == ["not", "back"] if end == inf else _is_near(words[6], end - start)
    [event] = ran.archive.list_events("outage")
    dark = {words[1] for words in shown if words[0] == f"AS{event['asn']}"}
    assert dark
    assert dark <= set(event["prefixes"])


@check("pybgpstream-045")
def each_withdrawal_is_counted_for_the_origin_of_the_lost_route(ran: Ran) -> None:
    counts = Counter(
        before.path.split()[-1]
        for history in _histories(ran, "rrc00").values()
        for before, each in pairwise(history)
        if each.kind == "W" and before.kind != "W"
    )
    assert_top(ast.literal_eval(ran.stdout), counts, 5)
    [flapping, *_] = ran.archive.list_events("flapping")
    assert str(flapping["origin"]) in dict(ast.literal_eval(ran.stdout))


@check("pybgpstream-047")
def the_hijacked_part_of_a_block_is_the_only_candidate(ran: Ran) -> None:
    [event] = ran.archive.list_events("subprefix_hijack")
    peers = _peers(ran, "rrc00") & set(event["peers_affected"])
    part = ipaddress.IPv4Network(event["prefix"])
    table = {ipaddress.ip_network(each.prefix) for each in ran.archive.list_elements("rrc00", "ribs")}
    covering = max((net for net in table if net.version == 4 and part.subnet_of(net)), key=lambda net: net.prefixlen)
    assert covering.subnet_of(ipaddress.IPv4Network(event["covering_prefix"]))
    alarm = f"{part} by AS{event['attacker']} inside {covering} of ['{event['victim']}'], {len(peers)} peers"
    assert ran.lines == [alarm, "1 candidates"]


@check("pybgpstream-048")
def the_spread_of_the_hijack_is_measured(ran: Ran) -> None:
    [event] = ran.archive.list_events("prefix_hijack")
    peers = _peers(ran, "rrc04", "route-views.sg")
    times = sorted(time for peer, time in event["first_seen"].items() if peer in peers)
    assert ran.lines == [
        f"{event['prefix']} usual ['{event['victim']}'] new {event['attacker']} {len(times)} sessions, "
        f"first {times[0]:.0f}, spread {times[-1] - times[0]:.1f} s",
        "1 origin changes",
    ]


@check("pybgpstream-049")
def too_specific_prefixes_are_judged_by_their_own_family(ran: Ran) -> None:
    peers = defaultdict(set)
    for each in _updates(ran, "route-views.sg", minutes=30, kinds="A"):
        network = ipaddress.ip_network(each.prefix)
        if network.prefixlen > STEPS[network.version]:
            peers[each.prefix, each.path.split()[-1]].add(each.asn)
    assert sorted(ran.lines[:-1]) == sorted(
        f"{prefix} origin {origin} peer ASes {len(asns)}" for (prefix, origin), asns in peers.items()
    )
    assert ran.lines[-1] == f"{len(peers)} pairs of prefix and origin"
    assert {prefix for prefix, _ in peers} == {event["prefix"] for event in ran.archive.list_events("blackholing")}


@check("pybgpstream-050")
def the_as_graph_has_no_loops_and_no_sets(ran: Ran) -> None:
    table = [each for each in ran.archive.list_elements("route-views.sg", "ribs") if _is_version_4(each.prefix)]
    pairs = {frozenset(pair) for each in table for pair in pairwise(each.path.split())}
    edges = {pair for pair in pairs if len(pair) == 2 and not any("{" in asn for asn in pair)}
    assert len(edges) < len(pairs)
    degrees = Counter(asn for pair in edges for asn in pair)
    assert ran.lines[0] == f"{len(degrees)} ASes {len(edges)} links"
    shown = [line.split(" degree ") for line in ran.lines[1:]]
    assert_top([(asn.removeprefix("AS"), int(number)) for asn, number in shown], degrees, 5)
    assert edges <= {frozenset(map(str, each[:2])) for each in ran.archive.truth["relationships"]}


@check("pybgpstream-052")
def the_busiest_minute_is_named_and_drawn(ran: Ran) -> None:
    counts = Counter(datetime.fromtimestamp(each.time, UTC).strftime("%H:%M") for each in _updates(ran, "rrc00"))
    most = max(counts.values())
    [line] = ran.lines
    assert line in [f"{minute} UTC: {most} elements" for minute, number in counts.items() if number == most]
    assert ran.run.files == [ran.work / "updates.png"]
    assert_picture(ran, "updates.png")


@check("pybgpstream-053")
def all_update_files_of_the_hour_are_read(ran: Ran) -> None:
    files = [row for row in ran.archive.index if (row[2], row[3]) == ("updates", "rrc04")]
    counts = Counter(each.kind for each in ran.archive.list_elements("rrc04", "updates"))
    assert ran.lines == [f"{len(files)} files", *(f"{kind} {number}" for kind, number in sorted(counts.items()))]


@check("pybgpstream-054")
def the_elements_of_one_file_are_counted_by_peer_as(ran: Ran) -> None:
    elements = ran.archive.files["mrt/rrc00/2024.03/updates.20240305.0805.gz"]
    assert_top(ast.literal_eval(ran.stdout), Counter(each.asn for each in elements))


@check("pybgpstream-058", same_everywhere=True)
def the_line_is_taken_apart_and_what_it_lacks_is_left_out(ran: Ran) -> None:
    assert ran.lines == [
        "record_type update",
        "type A",
        "time 1700000000.0",
        "project ris",
        "collector rrc00",
        "peer_asn 64500",
        "peer_address 192.0.2.1",
        "prefix 203.0.113.0/24",
        "next_hop 192.0.2.1",
        "as_path ['64500', '64501']",
        "communities {'64500:20'}",
    ]


@check("pybgpstream-059")
def short_prefixes_are_counted_by_number_not_by_text(ran: Ran) -> None:
    networks = {ipaddress.ip_network(each.prefix) for each in ran.archive.list_elements("route-views2", "ribs")}
    short = [network for network in networks if network.version == 4 and network.prefixlen <= 16]
    assert any(network.prefixlen < 10 for network in short)
    assert ran.lines == [str(len(short))]


@check("pybgpstream-060")
def a_path_is_compared_with_the_one_before_it_of_the_same_session(ran: Ran) -> None:
    changes: Counter[str] = Counter()
    for (_, prefix), history in _histories(ran, "rrc00", "route-views2").items():
        paths = [each.path for each in history if each.kind != "W"]
        changes[prefix] += sum(before != after for before, after in pairwise(paths))
    announced = len(_updates(ran, "rrc00", "route-views2", kinds="A"))
    assert ran.lines[0] == f"{announced} announcements, {changes.total()} path changes"
    [shown] = ran.lines[1:]
    assert_top(ast.literal_eval(shown), changes, 3)


@check("pybgpstream-061")
def the_most_active_prefixes_are_whole_prefixes(ran: Ran) -> None:
    counts = Counter(each.prefix for each in _updates(ran, "rrc04", minutes=15))
    assert_top(ast.literal_eval(ran.stdout), counts, 3)


@check("pybgpstream-062")
def full_and_partial_feeds_are_told_apart(ran: Ran) -> None:
    table = {
        (each.asn, each.peer, each.prefix)
        for each in ran.archive.list_elements("rrc04", "ribs")
        if _is_version_4(each.prefix)
    }
    sizes = Counter((asn, peer) for asn, peer, _ in table)
    full = {peer["address"]: peer["full_feed"] for peer in ran.archive.truth["collectors"]["rrc04"]["peers"]}
    expected = {
        f"AS{asn} {peer} {size} {'full' if full[peer] else 'partial'}": size for (asn, peer), size in sizes.items()
    }
    assert_top([(line, int(line.split()[2])) for line in ran.lines], expected)
    assert {False, True} == {full[peer] for _, peer in sizes}
