"""Each scenario's ground truth, computed again from the files with mrtparse and plain loops."""

import ipaddress
from collections.abc import Callable, Iterator
from itertools import groupby, pairwise
from typing import Any

import pytest

from testbed.internet.scenarios import ROUTING
from tests.support.mrt_elements import Archive, Element, load_archive

START = 1709625600
Spell = tuple[str, str, float, float | None, Element | None, Element]
"""(peer, prefix, start, end, the element before the spell, the element that started it)."""
SEEDS = (1, 2)


def has_no_route(element: Element | None) -> bool:
    return element is None or element.kind == "W"


def find_spells(
    archive: Archive, shows: Callable[[Element | None], bool], prefixes: list[str] | None = None
) -> list[Spell]:
    """The spells in which a peer's route shows something. What the tables already show does not start a spell."""
    found = []
    for (peer, prefix), history in archive.histories.items():
        if prefixes is not None and prefix not in prefixes:
            continue
        before = history[0] if history[0].kind == "R" else None
        for is_shown, run in groupby([before, *history[before is not None :]], key=shows):
            elements = list(run)
            if elements[0] is before:
                last = elements[-1]
                continue
            if is_shown:
                assert elements[0] is not None
                found.append((peer, prefix, elements[0].time, None, last, elements[0]))
            elif found and found[-1][:2] == (peer, prefix) and found[-1][3] is None:
                assert elements[0] is not None
                found[-1] = (*found[-1][:3], elements[0].time, *found[-1][4:])
            last = elements[-1]
    return found


def check_span(event: dict[str, Any], found: list[Spell]) -> None:
    """Check start, end and peers, which all kinds of events have."""
    assert found
    assert event["start"] == min(start for _, _, start, *_ in found)
    ends = [end for *_, end, _, _ in found]
    assert event["end"] == (None if None in ends else max(ends))  # type: ignore[type-var]
    assert sorted(event["peers_affected"]) == sorted({peer for peer, *_ in found})


def find_first_seen(found: list[Spell]) -> dict[str, float]:
    return {peer: min(spell[2] for spell in found if spell[0] == peer) for peer in {spell[0] for spell in found}}


def collapse_path(element: Element) -> list[int]:
    """The AS path without prepending."""
    return [asn for asn, _ in groupby(element.sequence)]


def count_run(element: Element | None, asn: int) -> int:
    if element is None or element.kind == "W":
        return 0
    return max((len(list(run)) for number, run in groupby(element.sequence) if number == asn), default=0)


def list_full_feeds(archive: Archive, version: int) -> set[str]:
    peers = [peer for facts in archive.truth["collectors"].values() for peer in facts["peers"]]
    return {peer["address"] for peer in peers if peer["full_feed"] and peer["ip_version"] == version}


def collect_origins(archive: Archive) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for element in archive.ribs:
        found.setdefault(element.prefix, set()).update(element.origins)
    return found


def iterate_planted(*kinds: str) -> Iterator[tuple[Archive, dict[str, Any]]]:
    """The events of these kinds in all scenarios of one seed, and in three scenarios of another."""
    for seed, names in ((1, tuple(ROUTING)), (2, ("route_leak", "prepending", "mixed"))):
        for name in names:
            if name in (*kinds, "mixed") or (name == "ipv6" and "subprefix_hijack" in kinds):
                for event in load_archive(name, seed).list_events(*kinds):
                    yield load_archive(name, seed), event


def test_each_scenario_holds_the_events_of_its_name() -> None:
    for name in ROUTING:
        kinds = {event["kind"] for event in load_archive(name).truth["events"]}
        expected = {"everyday": set(), "ipv6": {"subprefix_hijack"}}.get(name, {name})
        assert kinds == expected if name != "mixed" else len(kinds) >= 6, name
        early = [event for event in load_archive(name).truth["events"] if event["start"] < START + 300]
        assert len(early) >= len(load_archive(name).truth["events"]) - (name == "mixed")


@pytest.mark.parametrize("seed", SEEDS)
def test_origins_moas_and_as_sets_are_those_of_the_tables(seed: int) -> None:
    archive = load_archive("mixed", seed)
    found = collect_origins(archive)
    assert archive.truth["origins"] == {prefix: sorted(ases) for prefix, ases in found.items()}
    as_sets = {element.prefix for element in archive.ribs if "{" in element.path}
    assert set(archive.truth["as_sets"]) == as_sets
    moas = {prefix for prefix, ases in found.items() if len(ases) > 1} - as_sets
    assert set(archive.truth["moas"]) == moas
    assert len(moas) >= 3


def test_hijacks_are_who_saw_them_first_and_when() -> None:
    for archive, event in iterate_planted("prefix_hijack", "subprefix_hijack"):
        attacker, prefix = event["attacker"], event["prefix"]

        def shows(element: Element | None, asn: int = attacker) -> bool:
            return element is not None and element.kind != "W" and element.origins == (asn,)

        found = find_spells(archive, shows, [prefix])
        check_span(event, found)
        assert event["first_seen"] == find_first_seen(found)
        table = collect_origins(archive)
        everybody = list_full_feeds(archive, event["ip_version"])
        if event["kind"] == "prefix_hijack":
            assert table[prefix] == {event["victim"]}
            share = len(set(event["peers_affected"]) & everybody) / len(everybody)
            assert 0.1 < share < 0.9, "a part of the peers switches"
        else:
            assert prefix not in table
            covering = event["covering_prefix"]
            assert table[covering] == {event["victim"]}
            assert ipaddress.ip_network(prefix).subnet_of(ipaddress.ip_network(covering))  # type: ignore[arg-type]
            assert set(event["peers_affected"]) >= everybody
    assert [event["ip_version"] for event in load_archive("ipv6").truth["events"]] == [6]


def test_a_second_origin_appears_beside_the_first() -> None:
    for archive, event in iterate_planted("moas"):
        new, prefix = event["new_origin"], event["prefix"]

        def shows(element: Element | None, asn: int = new) -> bool:
            return element is not None and element.kind != "W" and element.origins == (asn,)

        found = find_spells(archive, shows, [prefix])
        check_span(event, found)
        assert event["first_seen"] == find_first_seen(found)
        assert prefix not in archive.truth["moas"]
        assert collect_origins(archive)[prefix] == set(event["origins"]) - {new}
        last = {peer: run[-1] for (peer, one), run in archive.histories.items() if one == prefix}
        assert {asn for element in last.values() for asn in element.origins} == set(event["origins"])


def test_a_leak_is_a_valley_and_makes_paths_longer() -> None:
    for archive, event in iterate_planted("route_leak"):
        leaker, target, sources = event["leaker"], event["leaked_to"], event["leaked_from"]

        def shows(
            element: Element | None, a: int = target, b: int = leaker, c: tuple[int, ...] = tuple(sources)
        ) -> bool:
            if element is None or element.kind == "W":
                return False
            path = collapse_path(element)
            return any(path[i : i + 2] == [a, b] and path[i + 2] in c for i in range(len(path) - 2))

        found = find_spells(archive, shows)
        check_span(event, found)
        assert event["prefixes"] == sorted({prefix for _, prefix, *_ in found})
        assert len(event["prefixes"]) >= 10
        pairs = [(before, during) for *_, before, during in found if before is not None and before.kind != "W"]
        before = sum(len(each.sequence) for each, _ in pairs) / len(pairs)
        during = sum(len(each.sequence) for _, each in pairs) / len(pairs)
        assert event["mean_path_length_before"] == pytest.approx(before, abs=1e-4)
        assert event["mean_path_length_leaked"] == pytest.approx(during, abs=1e-4)
        assert during > before
        assert [target, leaker, "p2c"] in archive.truth["relationships"]


@pytest.mark.parametrize("name", ROUTING)
def test_every_path_is_free_of_valleys_but_the_leaked_ones(name: str) -> None:
    archive = load_archive(name)
    step: dict[tuple[int, int], int] = {}  # on the way from the origin: 2 up, 1 across, 0 down
    for left, right, kind in archive.truth["relationships"]:
        step[left, right], step[right, left] = (0, 2) if kind == "p2c" else (1, 1)
    leaks = [(event["leaked_to"], event["leaker"]) for event in archive.list_events("route_leak")]
    valleys = 0
    for path in {tuple(collapse_path(element)) for element in archive.ribs + archive.updates if element.kind in "RA"}:
        steps = [step[pair] for pair in pairwise(reversed(path))]
        if steps != sorted(steps, reverse=True) or steps.count(1) > 1:
            assert any(pair in leaks for pair in pairwise(path)), path
            valleys += 1
        assert len(path) == len(set(path)), "a loop"
    assert (valleys > 0) == (name == "route_leak")


def test_prepending_is_by_the_as_and_as_often_as_the_truth_says() -> None:
    for archive, event in iterate_planted("prepending"):
        asn, towards, least = event["asn"], event["towards"], event["extra"] + 1
        by_origin = event["role"] == "origin"

        def shows(
            element: Element | None,
            asn: int = asn,
            towards: int | None = towards,
            least: int = least,
            by_origin: bool = by_origin,
        ) -> bool:
            if element is None or count_run(element, asn) < least or (element.sequence[-1] == asn) != by_origin:
                return False
            path = collapse_path(element)
            return towards is None or [towards, asn] in [path[i : i + 2] for i in range(len(path))]

        found = find_spells(archive, shows, event["prefixes"] if by_origin else None)
        check_span(event, found)
        assert event["prefixes"] == sorted({prefix for _, prefix, *_ in found})
        assert event["copies_seen"] == sorted({count_run(during, asn) for *_, during in found})
        assert least in event["copies_seen"]
        assert len({peer for peer, *_ in found}) >= 2
    events = load_archive("prepending").truth["events"]
    assert {event["role"] for event in events} == {"origin", "transit"}
    assert {event["towards"] is None for event in events if event["role"] == "origin"} == {True, False}


def test_flaps_are_the_transitions_in_each_peers_elements() -> None:
    for archive, event in iterate_planted("flapping"):
        check_span(event, find_spells(archive, has_no_route, event["prefixes"]))
        transitions: dict[str, dict[str, int]] = {}
        for (peer, prefix), history in archive.histories.items():
            if prefix in event["prefixes"]:
                presence = [history[0].kind == "R", *(element.kind != "W" for element in history)]
                transitions.setdefault(peer, {})[prefix] = sum(a != b for a, b in pairwise(presence))
        assert event["transitions"] == {peer: transitions[peer] for peer in event["peers_affected"]}
        expected = 2 * int(2100 / event["period"])
        flaps = [count for peer in transitions.values() for count in peer.values()]
        assert sum(count >= expected for count in flaps) > len(flaps) * 0.8


def test_blackholed_hosts_carry_the_communities_and_go_again() -> None:
    for archive, event in iterate_planted("blackholing"):
        found = find_spells(archive, lambda element: not has_no_route(element), [event["prefix"]])
        check_span(event, found)
        assert event["end"] is not None
        network = ipaddress.ip_network(event["prefix"])
        assert network.prefixlen == network.max_prefixlen
        seen = {
            text for element in archive.updates if element.prefix == event["prefix"] for text in element.communities
        }
        known = {f"{asn}:9999" for asn in event["providers"]} | {"65535:666"}
        assert set(event["communities"]) == seen & known
        assert "65535:666" in seen
        for *_, during in found:
            assert "65535:666" in during.communities
            assert during.origins == (event["victim"],)


def test_an_outage_takes_all_prefixes_from_everybody_and_gives_them_back() -> None:
    for archive, event in iterate_planted("outage"):
        found = find_spells(archive, has_no_route, event["prefixes"])
        check_span(event, found)
        lost = {peer: sorted({prefix for one, prefix, *_ in found if one == peer}) for peer, *_ in found}
        assert event["lost"] == lost
        for version in (4, 6):
            prefixes = sorted(prefix for prefix in event["prefixes"] if (":" in prefix) == (version == 6))
            assert all(lost.get(peer, []) == prefixes for peer in list_full_feeds(archive, version))
        owned = {prefix for prefix, ases in archive.truth["origins"].items() if event["asn"] in ases}
        assert set(event["prefixes"]) <= owned
        assert event["end"] is not None


def test_a_lost_session_has_its_states_its_silence_and_its_table_again() -> None:
    for archive, event in iterate_planted("peer_down"):
        updates = [element for element in archive.updates if element.peer == event["peer"]]
        states = [element for element in updates if element.kind == "S"]
        assert event["states"] == [[element.time, *element.states] for element in states]
        assert [element.states for element in states] == [(6, 1), (1, 2), (2, 4), (4, 5), (5, 6)]
        assert event["start"] == states[0].time
        assert event["end"] == states[-1].time
        assert event["peers_affected"] == [event["peer"]]
        assert all(element.peer == event["peer"] for element in archive.updates if element.kind == "S")
        place, last = updates.index(states[0]), updates.index(states[-1])
        assert last - place == 4, "nothing else while the session is down"
        table = {element.prefix for element in archive.ribs if element.peer == event["peer"]}
        for element in updates[:place]:
            (table.discard if element.kind == "W" else table.add)(element.prefix)
        assert event["lost"] == len(table)
        again = {
            element.prefix for element in updates[last:] if element.kind == "A" and element.time <= event["end"] + 60
        }
        assert event["announced_again"] == len(again)
        assert len(again) > 100


def test_beacons_go_up_and_down_in_every_scenario() -> None:
    for name in ("everyday", "mixed"):
        archive = load_archive(name)
        for prefix in archive.truth["beacons"]:
            real = prefix.startswith(("84.205.", "2001:7fb:"))
            kinds = {element.kind for element in archive.updates if element.prefix == prefix}
            assert kinds == ({"A"} if real else {"A", "W"}), prefix
            assert (prefix in archive.truth["origins"]) != real


def test_harm_is_done_and_suffered_by_fictional_ases_only() -> None:
    for seed in SEEDS:
        for name in ("mixed", "route_leak"):
            archive = load_archive(name, seed)
            for event in archive.truth["events"]:
                roles = ("victim", "attacker", "leaker", "leaked_to", "origin", "asn", "peer_asn")
                assert all(420_000 <= event[role] < 430_000 for role in roles if role in event)
                for prefix in event.get("prefixes", []):
                    assert all(420_000 <= asn < 430_000 for asn in archive.truth["origins"].get(prefix, []))
