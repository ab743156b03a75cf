"""Checks of pybgpstream-001 to 031."""

import calendar
import re
import time
from collections import Counter
from collections.abc import Iterable
from ipaddress import ip_network

from tests.data.seed_checks import Ran, assert_top, check
from tests.support.mrt_elements import Element

BEACON = "84.205.64.0/24"
HOUR = 3600


def _within(ran: Ran, collector: str, seconds: int) -> list[Element]:
    """The collector's updates until so many seconds after the start; an interval holds its last second whole."""
    return [
        each
        for each in ran.archive.list_elements(collector, "updates")
        if int(each.time) <= ran.archive.truth["start"] + seconds
    ]


def _announced(ran: Ran, collector: str, seconds: int = HOUR) -> list[Element]:
    return [each for each in _within(ran, collector, seconds) if each.kind == "A"]


def _below(block: str, elements: Iterable[Element]) -> list[Element]:
    """The elements whose IPv4 prefix is the block or a part of it."""
    outer = ip_network(block)
    return [each for each in elements if ":" not in each.prefix and outer.supernet_of(ip_network(each.prefix))]


def _origin(element: Element) -> str:
    """As text; an AS set stays what it is."""
    return element.path.rpartition(" ")[2]


def _merged(path: str) -> list[str]:
    """The hops of a path, prepending counted once."""
    hops = path.split()
    return [hop for place, hop in enumerate(hops) if place == 0 or hops[place - 1] != hop]


@check("pybgpstream-001")
def lists_the_five_peers_that_withdrew_most(ran: Ran) -> None:
    withdrawn = [each for each in _within(ran, "rrc00", HOUR // 2) if each.kind == "W"]
    counts = Counter(f"AS{each.asn} {each.peer}" for each in withdrawn)
    shown = [(peer, int(count)) for peer, _, count in (line.rpartition(" ") for line in ran.lines)]
    assert len(shown) == 5
    assert_top(shown, counts, 5)


@check("pybgpstream-002")
def names_the_prefixes_with_several_origins_and_those(ran: Ran) -> None:
    origins: dict[str, set[str]] = {}
    for name in ("route-views.sg", "rrc04"):
        for each in ran.archive.list_elements(name, "ribs"):
            if ":" not in each.prefix and "{" not in each.path:
                origins.setdefault(each.prefix, set()).add(_origin(each))
    moas = {prefix: found for prefix, found in origins.items() if len(found) > 1}
    assert moas.keys() <= set(ran.archive.truth["moas"])
    assert ran.lines[0] == f"{len(moas)} MOAS prefixes"
    assert len(ran.lines) == len(moas) + 1
    shown = [re.findall(r"[\d./]+", line) for line in ran.lines[1:]]
    assert {prefix: set(asns) for prefix, *asns in shown} == moas


@check("pybgpstream-004")
def lists_the_origins_announced_in_the_block(ran: Ran) -> None:
    origins = {_origin(each) for each in _below("22.1.0.0/16", _announced(ran, "rrc04"))}
    assert len(origins) > 1
    assert len(ran.lines) == 1
    assert re.findall(r"\d+", ran.stdout) == sorted(origins)


@check("pybgpstream-006")
def counts_the_ipv6_routes_by_length(ran: Ran) -> None:
    lengths = Counter(
        len(_merged(each.path)) for each in ran.archive.list_elements("rrc00", "ribs") if ":" in each.prefix
    )
    total = lengths.total()
    assert ran.lines == [
        f"{length} {lengths[length]} {100 * lengths[length] / total:.1f}%" for length in sorted(lengths)
    ]


@check("pybgpstream-007")
def lists_the_ten_communities_of_the_as_seen_most(ran: Ran) -> None:
    told = [text for each in _announced(ran, "route-views2", HOUR // 4) for text in each.communities]
    counts = Counter(text for text in told if text.split(":")[0] == "3356")
    shown = [(text, int(count)) for text, count in (line.split() for line in ran.lines)]
    assert_top(shown, counts, 10)


@check("pybgpstream-009")
def finds_the_hijack_and_nothing_else(ran: Ran) -> None:
    (event,) = ran.archive.list_events("prefix_hijack")
    peers = {
        peer["address"] for name in ("rrc00", "route-views2") for peer in ran.archive.truth["collectors"][name]["peers"]
    }
    seen = [int(when) for address, when in event["first_seen"].items() if address in peers]
    assert seen
    assert ran.lines == [f"{event['prefix']} {event['attacker']} {min(seen)} {len(seen)}"]


@check("pybgpstream-010")
def names_the_neighbours_on_both_sides(ran: Ran) -> None:
    before, behind = set(), set()
    for path in {each.path for each in ran.archive.list_elements("route-views2", "ribs")}:
        hops = _merged(path)
        for place in (place for place, hop in enumerate(hops) if hop == "1299"):
            before |= set(hops[place - 1 : place])
            behind |= {hop for hop in hops[place + 1 : place + 2] if "{" not in hop}
    assert before
    assert behind
    for line, side, asns in zip(ran.lines, ("collector", "origin"), (before, behind), strict=True):
        assert line == f"towards the {side}: {sorted(map(int, asns))}"


@check("pybgpstream-013")
def lists_when_the_peer_announced_the_beacon(ran: Ran) -> None:
    told = [each.time for each in _announced(ran, "rrc00") if (each.asn, each.prefix) == (3333, BEACON)]
    assert told
    assert ran.numbers == told


@check("pybgpstream-014")
def lists_the_three_origins_with_most_prefixes(ran: Ran) -> None:
    pairs = {
        (each.prefix, _origin(each)) for each in ran.archive.list_elements("rrc04", "ribs") if "{" not in each.path
    }
    counts = Counter(int(origin) for _, origin in pairs)
    best = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:3]
    assert ran.lines == [f"AS{asn} {count}" for asn, count in best]


@check("pybgpstream-015")
def lists_the_three_origins_announced_most(ran: Ran) -> None:
    counts = Counter(f"AS{_origin(each)}" for each in _announced(ran, "rrc04", 600))
    shown = [(origin, int(count)) for origin, count in (line.split() for line in ran.lines)]
    assert_top(shown, counts, 3)


@check("pybgpstream-018")
def prints_every_announcement_of_the_minute(ran: Ran) -> None:
    assert ran.lines == [f"{each.prefix} {each.next_hop}" for each in _announced(ran, "rrc00", 60)]


@check("pybgpstream-021")
def says_when_each_peer_announced_the_beacon(ran: Ran) -> None:
    shown = []
    for line in ran.lines:
        day, clock, asn, address = line.split()
        shown.append((calendar.timegm(time.strptime(f"{day} {clock}", "%Y-%m-%d %H:%M:%S")), asn, address))
    told = [(each.time, f"AS{each.asn}", each.peer) for each in _announced(ran, "rrc00", 300) if each.prefix == BEACON]
    assert told
    assert shown == told


@check("pybgpstream-022")
def counts_announcements_and_withdrawals_of_five_minutes(ran: Ran) -> None:
    (name,) = (name for name in ran.archive.files if name.endswith("rrc00/2024.03/updates.20240305.0800.gz"))
    counts = Counter(each.kind for each in ran.archive.files[name])
    assert ran.lines == [f"{counts['A']} announcements, {counts['W']} withdrawals"]


@check("pybgpstream-023")
def counts_sessions_ases_and_routes_of_each_collector(ran: Ran) -> None:
    truth = ran.archive.truth
    wanted = {}
    for name, facts in truth["collectors"].items():
        asns = [peer["asn"] for peer in facts["peers"]]
        wanted[name] = [len(asns), len(set(asns)), truth["counts"][name]["ribs"]]
    shown = {line.split()[0]: [int(text) for text in re.findall(r" (\d+) ", line)] for line in ran.lines}
    assert shown == wanted
    assert len(ran.lines) == len(wanted)
    sessions = [shown[line.split()[0]][0] for line in ran.lines]
    assert sessions == sorted(sessions, reverse=True)


@check("pybgpstream-026")
def counts_the_routes_of_every_peer_at_the_moment(ran: Ran) -> None:
    (broken,) = ran.archive.list_events("peer_down")
    held: dict[str, set[str]] = {}
    for each in ran.archive.list_elements("rrc00", "ribs") + _within(ran, "rrc00", 2700):
        table = held.setdefault(f"AS{each.asn} {each.peer}", set())
        if each.kind == "S" and each.states[0] == 6:
            table.clear()
        elif each.kind == "W":
            table.discard(each.prefix)
        elif each.kind in "RA":
            table.add(each.prefix)
    assert held[f"AS{broken['peer_asn']} {broken['peer']}"] == set()
    assert sorted(ran.lines) == sorted(f"{peer} {len(table)}" for peer, table in held.items())


@check("pybgpstream-029")
def counts_what_the_two_peers_sent_by_kind(ran: Ran) -> None:
    sent = [each for each in _within(ran, "rrc00", HOUR // 2) if each.asn in (1299, 3333) and each.kind in "AW"]
    counts = Counter(f"AS{each.asn} {each.kind}" for each in sent if ":" not in each.prefix)
    assert len(counts) == 4
    assert ran.lines == [f"{name} {counts[name]}" for name in sorted(counts)]


@check("pybgpstream-030")
def shows_the_first_element_of_each_kind(ran: Ran) -> None:
    route = ["as-path", "communities", "next-hop", "prefix"]
    keys = {"R": route, "A": route, "W": ["prefix"], "S": ["new-state", "old-state"]}
    first: dict[str, Element] = {}
    for each in ran.archive.list_elements("rrc00", "ribs") + ran.archive.list_elements("rrc00", "updates"):
        first.setdefault(each.kind, each)
    assert len(ran.lines) == 2 * len(first) == 8
    assert [line[0] for line in ran.lines[::2]] == sorted(first, key=lambda kind: first[kind].time)
    for title, line in zip(ran.lines[::2], ran.lines[1::2], strict=True):
        kind, one, part = title[0], first[title[0]], line.split("|")
        assert re.findall(r"[\w-]+", title) == [kind, *keys[kind]]
        assert part[:2] == ["rib" if kind == "R" else "update", kind]
        assert (float(part[2]), *part[7:9]) == (one.time, str(one.asn), one.peer)
        assert [part[9], part[10], part[11]] == [one.prefix or "None", one.next_hop or "None", one.path or "None"]
        assert part[12] == "None" if kind in "WS" else set(part[12].split()) == set(one.communities)
        assert part[13:] == (["ESTABLISHED", "IDLE"] if kind == "S" else ["None", "None"])
