"""Routing archives: the same bytes everywhere, readable by mrtparse and bgpdump, with a true index and true counts."""

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from netllama.core.errors import StageError
from netllama.core.files import hash_file
from testbed.internet.archive import write_archive
from testbed.internet.scenarios import ROUTING, simulate_hour
from tests.support.mrt_elements import Archive, Element, load_archive

START, END = 1709625600, 1709629200
KINDS = {"R": "ribs", "A": "announcements", "W": "withdrawals", "S": "peerstates"}


def hash_files(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): hash_file(path) for path in folder.rglob("*") if path.is_file()}


def test_the_same_name_and_seed_give_the_same_bytes_again(tmp_path: Path) -> None:
    write_archive("mixed", 1, tmp_path)
    assert hash_files(tmp_path) == hash_files(load_archive("mixed").folder)


def test_another_seed_gives_other_events() -> None:
    one, other = load_archive("mixed").truth, load_archive("mixed", 2).truth
    assert [event["kind"] for event in one["events"]] == [event["kind"] for event in other["events"]]
    for first, second in zip(one["events"], other["events"], strict=True):
        assert first != second
    assert one["origins"] != other["origins"]


def test_an_unknown_scenario_is_refused_with_the_known_names(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"unknown scenario 'hijack'; choose one of everyday, prefix_hijack, .*mixed"):
        write_archive("hijack", 1, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ROUTING)
def test_the_index_lists_every_file_once_with_the_time_it_covers(name: str) -> None:
    archive = load_archive(name)
    folder = archive.folder
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert sorted(row[0] for row in archive.index) == sorted(files - {"index.csv", "truth.json"})
    for path, project, kind, collector, filetime, timespan, timestamp in archive.index:
        ris = collector.startswith("rrc")
        assert project == ("ris" if ris else "routeviews")
        assert int(timestamp) == int(filetime) + int(timespan)
        assert int(timespan) == (120 if kind == "ribs" else 300 if ris else 900)
        clock = f"{(int(filetime) - START) // 60:02}"
        stem = {"updates": "updates", "ribs": "bview" if ris else "rib"}[kind]
        assert path == f"mrt/{collector}/2024.03/{stem}.20240305.08{clock}.{'gz' if ris else 'bz2'}"
        times = [element.time for element in archive.files[path]]
        assert times, f"{path} is empty"
        assert times == sorted(times)
        assert int(filetime) <= times[0] <= times[-1] < int(timestamp)
    assert Counter((row[3], row[2]) for row in archive.index) == {
        (collector, kind): 1 if kind == "ribs" else 12 if collector.startswith("rrc") else 4
        for collector in archive.truth["collectors"]
        for kind in ("ribs", "updates")
    }


@pytest.mark.parametrize("name", ROUTING)
def test_counts_are_those_of_the_files_and_of_the_size_asked_for(name: str) -> None:
    archive = load_archive(name)
    counts = archive.truth["counts"]
    for collector in archive.truth["collectors"]:
        found = Counter(
            KINDS[each.kind] for kind in ("ribs", "updates") for each in archive.list_elements(collector, kind)
        )
        assert counts[collector] == {kind: found[kind] for kind in KINDS.values()}
    total = Counter(KINDS[each.kind] for each in archive.ribs + archive.updates)
    assert counts["total"] == {kind: total[kind] for kind in KINDS.values()}
    assert 3000 <= counts["total"]["ribs"] <= 6000
    assert 1200 <= counts["total"]["announcements"] + counts["total"]["withdrawals"] <= 5000


@pytest.mark.parametrize("name", ROUTING)
def test_every_element_is_of_a_peer_of_its_collector_and_looks_like_it(name: str) -> None:
    archive = load_archive(name)
    assert (archive.truth["scenario"], archive.truth["seed"]) == (name, 1)
    assert (archive.truth["start"], archive.truth["end"]) == (START, END)
    for collector, facts in archive.truth["collectors"].items():
        peers = {peer["address"]: peer for peer in facts["peers"]}
        ris = facts["project"] == "ris"
        for element in archive.list_elements(collector, "ribs") + archive.list_elements(collector, "updates"):
            peer = peers[element.peer]
            assert element.asn == peer["asn"]
            assert ris or element.kind != "S"
            assert not ris or element.time == int(element.time)
            if element.kind != "S":
                assert (":" in element.prefix) == (peer["ip_version"] == 6)
            if element.kind in "RA":
                assert (element.sequence[0], element.next_hop) == (element.asn, element.peer)
        if not ris:
            assert any(element.time % 1 for element in archive.list_elements(collector, "updates"))
        fed = Counter(element.peer for element in archive.list_elements(collector, "ribs"))
        most = {version: max(fed[a] for a, p in peers.items() if p["ip_version"] == version) for version in (4, 6)}
        assert all((fed[a] == most[p["ip_version"]]) == p["full_feed"] for a, p in peers.items())


@pytest.mark.parametrize("name", ["everyday", "peer_down", "mixed"])
def test_tables_and_updates_together_are_the_state_at_the_end(name: str) -> None:
    archive, recording = load_archive(name), simulate_hour(name, 1)
    tables: dict[str, dict[str, Element]] = {feed.address: {} for feed in recording.world.feeds}
    for element in archive.ribs + archive.updates:
        table = tables[element.peer]
        if element.kind == "S":
            table.clear()
        elif element.kind == "W":
            del table[element.prefix]
        else:
            table[element.prefix] = element
    for feed, table in zip(recording.world.feeds, recording.tables, strict=True):
        assert tables[feed.address].keys() == table.keys()
        for prefix, attributes in table.items():
            element = tables[feed.address][prefix]
            assert element.med == attributes.med
            assert element.sequence == attributes.as_path[0][1]
            assert element.communities == tuple(f"{a}:{b}" for a, b in attributes.communities)
            assert element.large_communities == tuple(f"{a}:{b}:{c}" for a, b, c in attributes.large_communities)


def test_the_tables_have_all_kinds_of_attributes_and_updates_pack_prefixes() -> None:
    archive = load_archive("everyday")
    for elements in (archive.ribs, archive.updates):
        told = [element for element in elements if element.kind in "RA"]
        assert {element.origin for element in told} >= {"IGP", "INCOMPLETE"}
        for present in ("communities", "large_communities", "aggregator"):
            assert len({bool(getattr(element, present)) for element in told}) == 2, present
        assert {element.med is None for element in told} == {True, False}
    assert {element.atomic for element in archive.ribs} == {True, False}
    assert archive.truth["as_sets"] == sorted({each.prefix for each in archive.ribs if "{" in each.path})
    assert len(archive.truth["as_sets"]) == 1


def format_expected_line(element: Element, extended: bool) -> str:
    """What `bgpdump -m -l` prints for an element."""
    kind = {"R": "TABLE_DUMP2"}.get(element.kind, "BGP4MP_ET" if extended else "BGP4MP")
    time = f"{element.time:.6f}" if extended and element.kind != "R" else f"{int(element.time)}"
    start = f"{kind}|{time}|{'B' if element.kind == 'R' else element.kind}|{element.peer}|{element.asn}"
    if element.kind == "S":
        old, new = element.states
        return start.replace("|S|", "|STATE|") + f"|{old}|{new}"
    if element.kind == "W":
        return f"{start}|{element.prefix}"
    texts = [element.prefix, element.path, element.origin, element.next_hop, "0", str(element.med or 0)]
    texts += [" ".join(element.communities), " ".join(element.large_communities)]
    texts += ["AG" if element.atomic else "NAG", element.aggregator, ""]
    return "|".join([start, *texts])


def run_bgpdump(path: Path) -> list[str]:
    done = subprocess.run(["bgpdump", "-v", "-m", "-l", str(path)], capture_output=True, text=True, check=True)
    assert "[error]" not in done.stderr, done.stderr
    assert "[warn]" not in done.stderr, done.stderr
    return done.stdout.splitlines()


@pytest.mark.skipif(shutil.which("bgpdump") is None, reason="needs bgpdump")
@pytest.mark.parametrize("name", ROUTING)
def test_bgpdump_reads_the_same_elements(name: str) -> None:
    archive: Archive = load_archive(name)
    for row in archive.index:
        if row[2] == "ribs" and name != "mixed":  # the same in all scenarios of a seed
            continue
        path, extended = row[0], row[1] == "routeviews"
        lines = [format_expected_line(element, extended) for element in archive.files[path]]
        assert run_bgpdump(archive.folder / path) == lines, path
