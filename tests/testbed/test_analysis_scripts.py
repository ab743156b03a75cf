"""Scripts like those of PyBGPStream users (scripts/) find what was planted in the replay network.

They are written for the library and know nothing of the network: they take what they look for from the data, or from a
file that an operator would have (a watched prefix, CAIDA's AS relationships). Times are compared in seconds since the
beginning of a script's window, because the replay shows its hour in any past window.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox_choice import find_sandbox
from testbed.script_runner import ScriptRun, furnish_folder, run_script
from tests.support.clones import ROOT
from tests.support.mrt_elements import Archive

SCRIPTS = ROOT / "tests" / "testbed" / "scripts"
RIS = ("rrc00", "rrc04")
STATES = {1: "IDLE", 2: "CONNECT", 3: "ACTIVE", 4: "OPENSENT", 5: "OPENCONFIRM", 6: "ESTABLISHED"}


class Found(NamedTuple):
    """What a script found in a scenario, and what there was to find."""

    run: ScriptRun
    result: Any
    truth: dict[str, Any]
    archive: Archive

    def list_events(self, kind: str) -> list[dict[str, Any]]:
        return self.archive.list_events(kind)

    def to_seconds(self, time: float) -> Any:
        """A time of the ground truth, in seconds since the beginning; compares equal to the microsecond."""
        return pytest.approx(time - self.truth["start"], abs=2e-6)


Analyse = Callable[..., Found]


@pytest.fixture
def analyse(network: Path, tmp_path: Path) -> Analyse:
    """`analyse("moas", "everyday")` runs moas.py; `files` are written into its folder, `replace` changes its text."""

    def analyse(
        script: str,
        scenario: str,
        files: Mapping[str, str] | None = None,
        replace: tuple[str, str] | None = None,
        selects_nothing: bool = False,
    ) -> Found:
        work = tmp_path / "work"
        work.mkdir()
        furnish_folder(work, network, scenario)
        for name, text in (files or {}).items():
            (work / name).write_text(text, encoding="utf-8")
        path = SCRIPTS / f"{script}.py"
        if replace:
            code = path.read_text(encoding="utf-8")
            assert replace[0] in code
            path = tmp_path / path.name
            path.write_text(code.replace(*replace), encoding="utf-8")
        run = run_script(path, work, tmp_path / "state", find_sandbox(), Limits(wall_seconds=60))
        assert run.exit_code == 0, run.stderr
        assert not run.stderr
        assert run.stdout
        assert run.select_events("misuse") == []
        records, elements = run.count_consumed()
        assert records > 0
        assert (elements == 0) == selects_nothing
        assert run.files == [work / "result.json"]
        assert run.removed == []
        result = json.loads((work / "result.json").read_text(encoding="utf-8"))
        archive = Archive(network / "routing" / scenario)
        return Found(run, result, archive.truth, archive)

    return analyse


def parse_begin(text: str) -> float:
    """The beginning of a script's window."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def load_truth(network: Path, scenario: str) -> dict[str, Any]:
    return Archive(network / "routing" / scenario).truth


@pytest.mark.parametrize(
    ("scenario", "kinds"),
    [("moas", ["moas"]), ("mixed", ["moas", "prefix_hijack"]), ("route_leak", []), ("everyday", [])],
)
def test_prefixes_with_several_origins_are_found_in_the_tables_and_new_ones_afterwards(
    analyse: Analyse, scenario: str, kinds: list[str]
) -> None:
    found, start = analyse("moas", scenario), parse_begin("2021-03-01 08:00:00")
    assert len(found.truth["moas"]) > 1
    assert found.result["moas"] == {prefix: found.truth["origins"][prefix] for prefix in found.truth["moas"]}
    events = {
        f"{event['prefix']} {event['new_origin' if kind == 'moas' else 'attacker']}": event
        for kind in kinds
        for event in found.list_events(kind)
    }
    assert len(events) == len(kinds)
    assert found.result["added"].keys() == events.keys()
    for key, added in found.result["added"].items():
        assert added["time"] - start == found.to_seconds(events[key]["start"])
        assert sorted(added["peers"]) == sorted(events[key]["peers_affected"])


def test_paths_are_as_much_longer_than_the_shortest_ones_as_a_slow_search_says(analyse: Analyse) -> None:
    found = analyse("path_inflation", "everyday")
    ribs = found.archive.list_elements("rrc00", "ribs") + found.archive.list_elements("route-views.sg", "ribs")
    paths = [tuple(dict.fromkeys(each.sequence)) for each in ribs if ":" not in each.peer and "{" not in each.path]
    edges = {tuple(sorted(pair)) for path in paths for pair in pairwise(path)}
    assert found.result["edges"] == sorted(map(list, edges))
    assert edges <= {tuple(sorted(each[:2])) for each in found.truth["relationships"]}
    in_bgp: dict[str, int] = {}
    for path in paths:
        if len(path) > 1:
            ends = f"{path[0]} {path[-1]}"
            in_bgp[ends] = min(len(path), in_bgp.get(ends, 99))
    expected: dict[str, list[int]] = {}
    for source in {path[0] for path in paths}:
        length = find_shortest(source, edges)
        expected |= {
            ends: [bgp, length[int(ends.split()[1])]] for ends, bgp in in_bgp.items() if ends.startswith(f"{source} ")
        }
    assert found.result["inflation"] == expected
    assert all(bgp >= shortest for bgp, shortest in expected.values())
    assert any(bgp > shortest for bgp, shortest in expected.values())  # or policy would have no effect


def find_shortest(source: int, edges: set[tuple[int, ...]]) -> dict[int, int]:
    """AS -> ASes on the shortest path from `source`, by relaxing all edges until nothing changes (Bellman, Ford)."""
    length = {source: 1}
    while True:
        before = dict(length)
        for left, right in edges:
            for here, there in ((left, right), (right, left)):
                if here in length:
                    length[there] = min(length.get(there, 99), length[here] + 1)
        if length == before:
            return length


@pytest.mark.parametrize("scenario", ["blackholing", "mixed"])
def test_blackholed_hosts_are_found_by_their_communities(analyse: Analyse, scenario: str) -> None:
    found, start = analyse("communities", scenario), parse_begin("2022-11-15 12:00:00")
    events = {event["prefix"]: event for event in found.list_events("blackholing")}
    assert len(events) == 3
    assert found.result.keys() == events.keys()
    for prefix, hole in found.result.items():
        event = events[prefix]
        assert hole["origins"] == [event["victim"]]
        assert hole["peers"] == sorted(event["peers_affected"])
        asking = {community for community in hole["communities"] if community.split(":")[1] in ("666", "9999")}
        assert asking == set(event["communities"])
        assert hole["start"] - start == found.to_seconds(event["start"])
        assert hole["end"] - start == found.to_seconds(event["end"])


@pytest.mark.parametrize("scenario", ["mixed", "everyday"])
def test_the_live_stream_has_every_element_of_ris_and_no_other(analyse: Analyse, scenario: str) -> None:
    found = analyse("live_stream", scenario)
    counts = [found.truth["counts"][collector] for collector in RIS]
    kinds = {"A": "announcements", "W": "withdrawals", "S": "peerstates"}
    total = {kind: sum(count[name] for count in counts) for kind, name in kinds.items()}
    assert found.result["by_type"] == {kind: count for kind, count in total.items() if count}
    assert found.result["by_peer"] == count_per_peer(found.archive, " ", RIS)
    assert found.run.count_consumed()[1] == sum(total.values())


@pytest.mark.parametrize("script", ["communities", "peer_sessions"])
def test_a_filter_that_rightly_selects_nothing_is_no_misuse(analyse: Analyse, script: str) -> None:
    """Ordinary churn neither blackholes a host nor breaks a session."""
    assert analyse(script, "everyday", selects_nothing=True).result == {}


def test_a_live_stream_can_be_left_early(analyse: Analyse) -> None:
    found = analyse("live_stream", "mixed", replace=("10_000", "250"))
    assert sum(found.result["by_type"].values()) == sum(found.result["by_peer"].values()) == 250
    assert 0 < found.result["last"] - found.result["first"] < 3600


def count_per_peer(archive: Archive, separator: str, collectors: tuple[str, ...], kinds: str = "AWS") -> dict[str, int]:
    counts = Counter(
        separator.join((collector, str(element.asn), element.peer))
        for collector in collectors
        for element in archive.list_elements(collector, "updates")
        if element.kind in kinds
    )
    return dict(counts)


@pytest.mark.parametrize("scenario", ["flapping", "everyday"])
def test_withdrawals_are_counted_by_peer_prefix_and_collector(analyse: Analyse, scenario: str) -> None:
    found = analyse("withdrawals_per_peer", scenario)
    collectors = tuple(found.truth["collectors"])
    assert found.result["peers"] == count_per_peer(found.archive, "|", collectors, "W")
    assert found.result["collectors"] == {name: found.truth["counts"][name]["withdrawals"] for name in collectors}
    flapping = {prefix for event in found.list_events("flapping") for prefix in event["prefixes"]}
    most = sorted(found.result["prefixes"], key=found.result["prefixes"].__getitem__, reverse=True)
    assert set(most[: len(flapping)]) == flapping


@pytest.mark.parametrize("scenario", ["prefix_hijack", "mixed", "everyday"])
def test_a_hijack_is_told_peer_by_peer(analyse: Analyse, network: Path, scenario: str) -> None:
    """In a scenario without a hijack, the script watches a prefix that another scenario hijacks: nothing happens."""
    hijacked = "prefix_hijack" if scenario == "everyday" else scenario
    [event] = [each for each in load_truth(network, hijacked)["events"] if each["kind"] == "prefix_hijack"]
    watch = json.dumps({"prefix": event["prefix"], "origin": event["victim"]})
    found, start = analyse("hijack_timeline", scenario, {"watch.json": watch}), parse_begin("2021-03-01 08:00:00")
    table = {element.peer for element in found.archive.ribs if element.prefix == event["prefix"]}
    assert table <= set(found.result["peers"])
    assert found.list_events("prefix_hijack") == ([] if scenario == "everyday" else [event])
    if scenario == "everyday":
        assert (found.result["suspects"], found.result["first_seen"], found.result["back"]) == ([], {}, {})
        return
    assert found.result["suspects"] == [event["attacker"]]
    assert sorted(found.result["first_seen"]) == sorted(event["peers_affected"])
    for peer, time in found.result["first_seen"].items():
        assert time - start == found.to_seconds(event["first_seen"][peer])
    assert found.result["back"].keys() == event["first_seen"].keys()
    assert max(found.result["back"].values()) - start == found.to_seconds(event["end"])
    assert f"{len(event['first_seen'])} of {len(found.result['peers'])} peers switched" in found.run.stdout


@pytest.mark.parametrize("scenario", ["subprefix_hijack", "ipv6", "mixed", "everyday"])
def test_a_foreign_part_of_a_watched_block_raises_an_alarm(analyse: Analyse, network: Path, scenario: str) -> None:
    """The script watches the blocks hijacked in any of the scenarios. Local dumps keep their times."""
    events = {
        name: [each for each in load_truth(network, name)["events"] if each["kind"] == "subprefix_hijack"]
        for name in ("subprefix_hijack", "ipv6", "mixed")
    }
    watch = {event["covering_prefix"]: event["victim"] for each in events.values() for event in each}
    assert len(watch) > 1
    found = analyse("subprefix_hijack", scenario, {"watch.json": json.dumps(watch)})
    expected = {event["prefix"]: event for event in events.get(scenario, [])}
    assert len(expected) == (scenario != "everyday")
    assert found.result.keys() == expected.keys()
    for prefix, alarm in found.result.items():
        assert alarm["origin"] == expected[prefix]["attacker"]
        assert alarm["first_seen"] == pytest.approx(expected[prefix]["first_seen"], abs=2e-6)
        assert alarm["last_withdrawal"] == pytest.approx(expected[prefix]["end"], abs=2e-6)


@pytest.mark.parametrize("scenario", ["route_leak", "prepending", "everyday"])
def test_a_leak_is_a_path_with_a_valley_and_nothing_else_is(analyse: Analyse, network: Path, scenario: str) -> None:
    kinds = {"p2c": -1, "p2p": 0}
    lines = [f"{left}|{right}|{kinds[kind]}" for left, right, kind in load_truth(network, scenario)["relationships"]]
    relationships = "\n".join(("# provider|customer|-1, peer|peer|0", *lines, ""))
    found, start = analyse("route_leak", scenario, {"as-rel.txt": relationships}), parse_begin("2020-05-05 16:00:00")
    events = {f"{event['leaker']} {event['leaked_to']}": event for event in found.list_events("route_leak")}
    assert len(events) == (scenario == "route_leak")
    assert found.result.keys() == events.keys()
    for key, leak in found.result.items():
        event = events[key]
        assert leak["time"] - start == found.to_seconds(event["start"])
        assert leak["peers"] == sorted(event["peers_affected"])
        assert leak["prefixes"] == sorted(event["prefixes"])
        for name, truth in (("before", "mean_path_length_before"), ("leaked", "mean_path_length_leaked")):
            assert sum(leak[name]) / len(leak[name]) == pytest.approx(event[truth], abs=5e-5)


@pytest.mark.parametrize("scenario", ["flapping", "mixed", "everyday"])
def test_flapping_prefixes_are_found_in_the_dump_files_alone(analyse: Analyse, scenario: str) -> None:
    found = analyse("flapping", scenario)
    events = {prefix: event for event in found.list_events("flapping") for prefix in event["prefixes"]}
    assert bool(events) == (scenario != "everyday")
    assert found.result.keys() == events.keys()
    for prefix, flaps in found.result.items():
        truth = events[prefix]["transitions"]
        assert flaps["transitions"] == {peer: counts[prefix] for peer, counts in truth.items() if prefix in counts}
        assert flaps["period"] == pytest.approx(events[prefix]["period"], abs=2)
    for event in found.list_events("flapping"):
        start = min(found.result[prefix]["start"] for prefix in event["prefixes"])
        assert start == pytest.approx(event["start"], abs=2e-6)


@pytest.mark.parametrize("scenario", ["peer_down", "mixed"])
def test_a_broken_session_is_found_with_the_table_that_came_back(analyse: Analyse, scenario: str) -> None:
    found, start = analyse("peer_sessions", scenario), parse_begin("2023-01-10 08:00:00")
    [event] = found.list_events("peer_down")
    assert list(found.result) == [f"{event['collector']} {event['peer']}"]
    [session] = found.result.values()
    assert session["asn"] == event["peer_asn"]
    assert session["down"] - start == found.to_seconds(event["start"])
    assert session["up"] - start == found.to_seconds(event["end"])
    assert [[time - start, old, new] for time, old, new in session["states"]] == [
        [time - found.truth["start"], STATES[old], STATES[new]] for time, old, new in event["states"]
    ]
    assert (session["lost"], session["announced_again"]) == (event["lost"], event["announced_again"])


@pytest.mark.parametrize("scenario", ["outage", "mixed", "everyday"])
def test_an_as_that_goes_dark_is_found_with_all_it_lost(analyse: Analyse, scenario: str) -> None:
    found, start = analyse("outage", scenario), parse_begin("2018-09-01 08:00:00")
    assert found.result["dumps"] == len(found.archive.index)
    events = {str(event["asn"]): event for event in found.list_events("outage")}
    assert len(events) == (scenario != "everyday")
    assert found.result["outages"].keys() == events.keys()
    for asn, outage in found.result["outages"].items():
        event = events[asn]
        lost = {
            prefix: sorted(peer for peer, prefixes in event["lost"].items() if prefix in prefixes)
            for prefix in sorted(event["prefixes"])
        }
        assert outage["lost"] == lost
        assert outage["start"] - start == found.to_seconds(event["start"])
        assert outage["end"] - start == found.to_seconds(event["end"])
        assert outage["start"] <= outage["dark"] < outage["start"] + 60


def test_new_prepending_is_found_with_the_neighbour_it_is_meant_for(analyse: Analyse) -> None:
    found, start = analyse("prepending", "prepending"), parse_begin("2021-06-15 08:00:00")
    events = {
        f"{event['asn']} {event['role']} {copies}": event
        for event in found.list_events("prepending")
        for copies in event["copies_seen"]
    }
    assert len(events) > 3
    assert events.keys() <= found.result.keys()
    for key, event in events.items():
        entry = found.result[key]
        assert entry["first"] - start == found.to_seconds(event["start"])
        assert entry["prefixes"] == sorted(event["prefixes"])
        assert entry["peers"] == sorted(event["peers_affected"])
        if event["towards"]:
            assert entry["towards"] == [event["towards"]]
