"""The facts of the reports, counted again from the simulation's own records, and the renaming of networks."""

import ipaddress
from collections import Counter
from itertools import combinations

import pytest

from testbed.internet.changes import START
from testbed.internet.truth import get_path
from testbed.reports.cell_reports import CELL_KPI
from testbed.reports.drive_reports import DRIVE_TEST_PART
from testbed.reports.handover_reports import PHONE_HANDOVERS, ROW
from testbed.reports.network_names import OCTETS, NetworkNames, find_side
from testbed.reports.origin_reports import NEW_ORIGIN
from testbed.reports.outage_reports import ROUTE_LOSS
from testbed.reports.path_reports import PATH_CHANGE
from testbed.reports.report_records import Side
from testbed.reports.report_tables import read_rows
from testbed.reports.report_values import add, count_seconds, subtract
from testbed.reports.report_wording import fill_wording, read_wording, split_sentences
from testbed.reports.reported_network import ReportedNetwork, simulate_network
from testbed.reports.session_reports import DEVICE_SESSIONS
from testbed.reports.slice_reports import SLICE_HOUR
from testbed.reports.update_reports import PREFIX_UPDATES
from testbed.reports.upstream_reports import AS_UPSTREAMS
from testbed.reports.upstream_reports import ROW as UPSTREAM_ROW


@pytest.fixture(scope="module")
def network() -> ReportedNetwork:
    return simulate_network("test", "3-0")


def list_records(network: ReportedNetwork) -> list[tuple[str, str, str, str, str | None]]:
    """(time of day, collector, peer, prefix, path or None) of each element of a fictional prefix, renamed."""
    names, result = network.names, []
    for message in network.recording.messages:
        feed = network.recording.world.feeds[message.feed]
        where = (
            names.format_clock(message.time),
            names.name_thing("collector", feed.collector.name),
            names.name_as(feed.asn),
        )
        for prefix in message.withdrawn:
            if network.is_fictional(prefix):
                result.append((*where, names.name_prefix(prefix), None))
        for prefix in message.announced:
            if network.is_fictional(prefix) and message.attributes:
                result.append((*where, names.name_prefix(prefix), names.name_path(get_path(message.attributes))))
    return result


def test_updates_of_a_prefix_are_those_recorded(network: ReportedNetwork) -> None:
    records, reports = list_records(network), list(PREFIX_UPDATES.draw_facts(network))
    assert len(reports) > 100
    for each in reports[::7]:
        mine = [
            record
            for record in records
            if record[1] == each["collector"] and record[3] == each["prefix"]
            and each["start"] <= record[0] < each["end"]
        ]  # fmt: skip
        announced = [record for record in mine if record[4] is not None]
        assert (each["announcements"], each["withdrawals"]) == (str(len(announced)), str(len(mine) - len(announced)))
        assert each["peers"] == str(len({record[2] for record in mine}))
        if "last_peer" in each:
            assert {(record[0], record[2]) for record in announced if record[0] == max(announced)[0]} == {
                (each["last_time"], each["last_peer"])
            }
        if "first_peer" in each:
            assert (each["first_time"], each["first_peer"]) == min(mine)[::2][:2]
        origins = {record[4].split()[-1] for record in announced if record[4]}
        assert "origin" not in each or origins == {each["origin"]} or len(origins) > 1


def test_a_path_before_is_that_of_the_announcement_before(network: ReportedNetwork) -> None:
    records, reports = list_records(network), list(PATH_CHANGE.draw_facts(network))
    assert {each["before"] == each["after"] for each in reports} == {True, False}
    checked = 0
    for each in reports[::11]:
        mine = [record for record in records if (record[2], record[3]) == (each["peer"], each["prefix"])]
        times = [record[0] for record in mine]
        if times.count(each["time"]) == 1:
            place = times.index(each["time"])
            assert mine[place][4] == each["after"]
            assert place == 0 or mine[place - 1][4] in (each["before"], None)
            checked += 1
    assert checked > 20


def test_new_origins_are_those_of_the_ground_truth(network: ReportedNetwork) -> None:
    events = {
        network.names.name_prefix(event["prefix"]): event for event in network.recording.events if "first_seen" in event
    }
    feeds = {feed.address: feed for feed in network.recording.world.feeds}
    reports = list(NEW_ORIGIN.draw_facts(network))
    assert {each["prefix"] for each in reports} == set(events)
    for each in reports:
        event = events[each["prefix"]]
        seen = {
            address: time
            for address, time in event["first_seen"].items()
            if network.names.name_thing("collector", feeds[address].collector.name) == each["collector"]
        }
        assert each["first_time"] == network.names.format_clock(min(seen.values()))
        assert each["peers"] == str(len({feeds[address].asn for address in seen}))
        assert each["new_origin"] == network.names.name_as(event.get("attacker") or event["new_origin"])


def test_the_planted_outage_is_reported_at_every_collector_that_lost_it(network: ReportedNetwork) -> None:
    (outage,) = (event for event in network.recording.events if event["kind"] == "outage")
    feeds = {feed.address: feed for feed in network.recording.world.feeds}
    lost = {
        (network.names.name_thing("collector", feeds[address].collector.name), network.names.name_prefix(prefix))
        for address, prefixes in outage["lost"].items()
        for prefix in prefixes
    }
    start, end = (network.names.format_clock(outage[edge]) for edge in ("start", "end"))
    reported = {
        (each["collector"], each["prefix"]): each
        for each in ROUTE_LOSS.draw_facts(network)
        if start <= each["time"] and each["last_time"] <= end
    }
    assert lost <= reported.keys()
    assert all(count_seconds(reported[key]["time"], reported[key]["last_time"]) > 500 for key in lost)


def test_upstreams_at_the_start_are_those_of_the_tables(network: ReportedNetwork) -> None:
    world, start = network.recording.world, network.names.format_minute(START)
    reports = [each for each in AS_UPSTREAMS.draw_facts(network) if each["time"] == start]
    assert len(reports) > 10
    for each in reports:
        routes = Counter[str]()
        for feed, table in zip(world.feeds, world.tables, strict=True):
            if network.names.name_thing("collector", feed.collector.name) == each["collector"]:
                for prefix, attributes in table.items():
                    path = list(dict.fromkeys(network.names.name_path(get_path(attributes)).split()))
                    if network.is_fictional(prefix) and path[-1] == each["origin"] and len(path) > 1:
                        routes[path[-2]] += 1
        assert {row["upstream"]: row["routes"] for row in read_rows(UPSTREAM_ROW, each)} == {
            asn: str(count) for asn, count in routes.items()
        }
        assert each["routes"] == str(routes.total())


def test_measurements_are_those_of_the_files(network: ReportedNetwork) -> None:
    rows = network.kpi.rows
    for each in list(CELL_KPI.draw_facts(network))[::5]:
        times = [f"2024-03-{day:02} {each['start']}:00" for day in range(4, 11)]
        found = [
            f"{row['jitter_ms']:.2f} ms"
            for row in rows
            if row["timestamp"] in times and network.names.name_cell(row["cell"]) == each["cell"] and row["jitter_ms"]
        ]
        assert each["jitter_ms"] in found
    drives = list(DRIVE_TEST_PART.draw_facts(network))
    assert sum(int(each["handovers"]) for each in drives) == network.drive_test.facts["handovers"]
    lowest = min(row["ss_rsrp_dbm"] for row in network.drive_test.rows)
    assert f"{lowest} dBm" in {each["lowest_rsrp"] for each in drives}
    moves = {row["time"] for each in PHONE_HANDOVERS.draw_facts(network) for row in read_rows(ROW, each)}
    assert moves <= {network.names.shift_time(row["timestamp"]) for row in network.handovers.rows}
    late = [each for each in SLICE_HOUR.draw_facts(network) if float(each["latency"].split()[0]) > 10 * 1.25]
    assert late
    rejected = sum(int(each["rejected"]) for each in DEVICE_SESSIONS.draw_facts(network))
    assert 0 < rejected <= network.sessions.facts["events"]["PDU-SESSION-REJECTED"]


@pytest.mark.parametrize("side", ["train", "test"])
def test_new_prefixes_contain_each_other_as_the_old_ones_do(side: Side, network: ReportedNetwork) -> None:
    world = network.recording.world
    for key in ("0-0", "0-1", "9-4"):
        names = NetworkNames(side, key, world.topology)
        old = [ipaddress.ip_network(prefix) for prefix in world.plan if network.is_fictional(prefix)]
        new = [ipaddress.ip_network(names.name_prefix(str(each))) for each in old]
        assert len(set(new)) == len(old)
        assert [(each.version, each.prefixlen) for each in new] == [(each.version, each.prefixlen) for each in old]
        for a, b in combinations(range(len(old)), 2):
            assert old[a].version != old[b].version or old[a].overlaps(old[b]) == new[a].overlaps(new[b])
        assert {each.network_address.packed[0] for each in new if each.version == 4} <= set(OCTETS[side])
        ases = {names.name_as(asn) for asn in world.topology.neighbours}
        assert len(ases) == len(world.topology.neighbours)
        assert {find_side(int(each[2:])) for each in ases} == {side}
        things = [names.name_thing(kind, old) for kind in ("collector", "phone") for old in map(str, range(40))]
        assert len(set(things)) == 80
        assert {find_side(each) for each in things} == {side}


def test_the_hour_of_a_network_lies_within_a_day(network: ReportedNetwork) -> None:
    for key in range(60):
        names = NetworkNames("train", str(key), network.recording.world.topology)
        assert names.format_clock(START) < names.format_clock(START + 7199) <= "23:59:59"
        assert names.format_clock(START) == names.shift_time("2024-03-05 08:00:00")
        assert names.format_minute(START)[-1] in "05"


def test_values_are_computed_in_their_unit() -> None:
    assert subtract("3.25 ms", "1.20 ms") == "2.05 ms"
    assert subtract("-95.5 dBm", "-118 dBm") == "22.5 dBm"
    assert add("2.20 Mbit/s", "18.92 Mbit/s") == "21.12 Mbit/s"
    assert add("7", "5") == "12"
    assert count_seconds("08:59:58", "09:00:03") == 5
    with pytest.raises(ValueError, match="unpack"):
        subtract("3 ms", "1 s")


def test_a_wording_reads_what_it_writes() -> None:
    wording = "At {time} peer {peer} sent {path}; later {peer} sent no more."
    fields = {"time": "08:00:01", "peer": "AS420001", "path": "AS420001 AS420002"}
    text = fill_wording(wording, fields)
    assert read_wording(wording, text) == fields
    assert read_wording(wording, text.replace("later AS420001", "later AS420009")) is None
    assert read_wording(wording, f"{text} ") is None
    assert split_sentences(f"{text} 22.1.0.0/16 it was. Loss was 0.12 %.") == [
        text,
        "22.1.0.0/16 it was.",
        "Loss was 0.12 %.",
    ]
