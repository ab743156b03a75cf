"""Live streams: in the tests RIS Live serves the hour of rrc00 and rrc04 from NOW on, and ends after it."""

import re
from collections import Counter, defaultdict
from itertools import pairwise

from tests.data.seed_checks import NOW, Ran, check
from tests.support.mrt_elements import Element

RIS = ("rrc00", "rrc04")
BLOCKS = ("21.0.0.0/8", "22.0.0.0/8")


def _feed(ran: Ran, kinds: str = "AWS") -> list[Element]:
    """What RIS Live serves, in its order."""
    elements = [
        element for name in RIS for element in ran.archive.list_elements(name, "updates") if element.kind in kinds
    ]
    return sorted(elements, key=lambda element: element.time)


def _collector(ran: Ran, peer: str) -> str:
    (name,) = (
        name for name in RIS if peer in {each["address"] for each in ran.archive.truth["collectors"][name]["peers"]}
    )
    return name


def _peers(ran: Ran) -> set[str]:
    return {each["address"] for name in RIS for each in ran.archive.truth["collectors"][name]["peers"]}


def _inside(prefix: str, *blocks: str) -> bool:
    return any(prefix.split(".")[0] == block.split(".")[0] for block in blocks)


def _by_peer(ran: Ran, kinds: str) -> dict[str, list[Element]]:
    found = defaultdict(list)
    for element in _feed(ran, kinds):
        found[element.peer].append(element)
    return found


def _trailing(times: list[float], moment: float, window: float) -> int:
    """How many of `times` lie in the half-open window that ends with `moment`."""
    return sum(moment - window < time <= moment for time in times)


@check("pybgpstream_realtime-002")
def peers_with_five_withdrawals_in_a_minute_are_named_once_a_burst(ran: Ran) -> None:
    expected = []
    for peer, elements in _by_peer(ran, "W").items():
        times = [element.time for element in elements]
        end = 5
        while end <= len(times):
            if times[end - 1] - times[end - 5] <= 60:
                expected.append(f"{times[end - 1]:.0f} burst: AS{elements[0].asn} at {_collector(ran, peer)}")
                end += 5
            else:
                end += 1
    assert expected
    assert sorted(ran.lines) == sorted(expected)


@check("pybgpstream_realtime-003")
def foreign_origins_are_those_of_the_hijack_and_the_second_origin(ran: Ran) -> None:
    foreign = {
        event["prefix"]: event.get("attacker", event.get("new_origin"))
        for event in ran.archive.list_events("prefix_hijack", "moas")
        if _inside(event["prefix"], *BLOCKS)
    }
    assert len(foreign) == 2
    expected = [
        f"ORIGIN {element.prefix} {element.origins[0]} seen by {element.asn}"
        for element in _feed(ran, "A")
        if foreign.get(element.prefix) in element.origins
    ]
    assert sorted(ran.lines) == sorted(expected)


@check("pybgpstream_realtime-004")
def only_the_prefix_with_the_short_period_flaps_five_times_in_a_quarter_of_an_hour(ran: Ran) -> None:
    (fast,) = (event for event in ran.archive.list_events("flapping") if event["period"] == 120)
    assert all(event["period"] > 900 / 5 for event in ran.archive.list_events("flapping") if event != fast)
    peers = {peer for peer in fast["peers_affected"] if peer in _peers(ran)}
    periods = int((fast["end"] - NOW) // 900)
    expected = [f"flapping: {_collector(ran, peer)} {peer} {name}" for peer in peers for name in fast["prefixes"]]
    assert Counter(ran.lines) == Counter(expected * periods)


@check("pybgpstream_realtime-005")
def origins_change_between_two_announcements_of_a_session(ran: Ran) -> None:
    heard = defaultdict(list)
    for element in _feed(ran, "A"):
        heard[element.peer, element.prefix].append(element)
    expected = [
        f"{new.time:.0f} {new.prefix} origin {old.path.split()[-1]} -> {new.path.split()[-1]}"
        for elements in heard.values()
        for old, new in pairwise(elements)
        if old.origins != new.origins
    ]
    (hijack,) = ran.archive.list_events("prefix_hijack")
    assert any(f"{hijack['prefix']} origin {hijack['attacker']} -> {hijack['victim']}" in line for line in expected)
    assert sorted(ran.lines) == sorted([*expected, f"{len(heard)} entries kept, 0 evicted"])


@check("pybgpstream_realtime-006")
def announcements_of_one_peer_are_listed_with_their_origins(ran: Ran) -> None:
    own = [element for element in _feed(ran, "A") if element.asn == 3333]
    assert ran.lines == [f"{element.prefix} origin {element.path.split()[-1]}" for element in own]


@check("pybgpstream_realtime-007")
def announcements_and_withdrawals_in_two_blocks_are_counted(ran: Ran) -> None:
    count = Counter(element.kind for element in _feed(ran, "AW") if _inside(element.prefix, *BLOCKS))
    assert count["W"] > 0
    assert ran.lines == [f"A {count['A']} W {count['W']}"]


@check("pybgpstream_realtime-008", fault_unseen=True)
def elements_of_the_beacon_are_listed_and_summed(ran: Ran) -> None:
    *shown, summary = ran.lines
    beacon = [element for element in _feed(ran) if element.prefix == "84.205.64.0/24"]
    assert shown == [f"{float(each.time)} {each.kind} {each.asn} {each.prefix}" for each in beacon]
    assert summary == f"matches {len(beacon)} bad records 0"


@check("pybgpstream_realtime-010")
def the_five_longest_silences_are_those_between_the_elements_of_a_peer(ran: Ran) -> None:
    end = _feed(ran)[-1].time
    longest = {}
    for peer, elements in _by_peer(ran, "AWS").items():
        times = [element.time for element in elements] + [end]
        longest[peer] = max((after - before, before, elements[0].asn) for before, after in pairwise(times))
    expected = [
        f"{_collector(ran, peer)} {asn} {peer} silent for {length:.0f} s from {begin:.0f}"
        for peer, (length, begin, asn) in sorted(longest.items(), key=lambda item: item[1], reverse=True)[:5]
    ]
    assert sorted(ran.lines) == sorted(expected)


@check("pybgpstream_realtime-012")
def a_lost_session_forgets_its_prefixes_and_the_others_keep_theirs(ran: Ran) -> None:
    (lost,) = ran.archive.list_events("peer_down")
    down, held = [], {}
    for peer, elements in _by_peer(ran, "AW").items():
        sets = []
        for begin, end in ((0, lost["start"]), (lost["start"] if peer == lost["peer"] else 0, NOW + 3600)):
            final = {element.prefix: element.kind for element in elements if begin <= element.time < end}
            sets.append([prefix for prefix, kind in final.items() if kind == "A"])
        held[peer] = len(sets[1])
        if peer == lost["peer"]:
            down = [f"{lost['collector']} {peer} down, {len(sets[0])} prefixes forgotten"]
    expected = [f"{_collector(ran, peer)} {peer} announces {count}" for peer, count in held.items()]
    assert down
    assert ran.lines[:1] == down
    assert ran.lines[1:] == sorted(expected)


@check("pybgpstream_realtime-014")
def withdrawals_are_inside_the_block_or_from_the_peer(ran: Ran) -> None:
    wanted = [each for each in _feed(ran, "W") if each.asn == 3333 or _inside(each.prefix, "21.0.0.0/8")]
    assert (
        {each.asn == 3333 for each in wanted}
        == {_inside(each.prefix, "21.0.0.0/8") for each in wanted}
        == {True, False}
    )
    assert ran.lines == [f"{float(each.time)} {each.asn} {each.prefix}" for each in wanted]


@check("pybgpstream_realtime-017")
def the_busiest_minute_of_withdrawals_is_found(ran: Ran) -> None:
    times = [element.time for element in _feed(ran, "W")]
    most, moment = max((_trailing(times, time, 60), time) for time in times)
    assert ran.lines == [f"{most} withdrawals in the minute up to {moment:.0f}"]


@check("pybgpstream_realtime-019")
def the_states_of_the_lost_session_are_listed(ran: Ran) -> None:
    (lost,) = ran.archive.list_events("peer_down")
    names = {1: "IDLE", 6: "ESTABLISHED"}
    assert ran.lines == [f"{lost['peer_asn']} {names.get(new, 'CONNECT')}" for _, _, new in lost["states"]]


@check("pybgpstream_realtime-020")
def the_first_thousand_elements_are_printed(ran: Ran) -> None:
    assert ran.lines == [f"{float(each.time)} {each.kind} {each.asn}" for each in _feed(ran)[:1000]]


@check("pybgpstream_realtime-021")
def each_prefix_is_alerted_at_most_every_ten_minutes(ran: Ran) -> None:
    shown = [re.fullmatch(r"(\d+) (\S+) withdrawn by AS(\d+)", line) for line in ran.lines]
    alerts = [(int(match[1]), match[2], int(match[3])) for match in shown if match]
    gone = [(int(element.time), element.prefix, element.asn) for element in _feed(ran, "W")]
    assert len(alerts) == len(shown)
    assert len(set(alerts)) == len(alerts)
    assert set(alerts) <= set(gone)
    assert {event["prefixes"][0] for event in ran.archive.list_events("flapping")} <= {
        prefix for _, prefix, _ in alerts
    }
    for prefix in {prefix for _, prefix, _ in gone}:
        told = [time for time, name, _ in alerts if name == prefix]
        assert all(later - earlier >= 600 for earlier, later in pairwise(told))
        assert all(any(0 <= time - each < 600 for each in told) for time, name, _ in gone if name == prefix)


@check("pybgpstream_realtime-023")
def the_first_ten_minutes_are_counted(ran: Ran) -> None:
    counts = Counter((int(element.time) // 60 * 60, element.kind) for element in _feed(ran))
    minutes = sorted({minute for minute, _ in counts})[:10]
    assert ran.lines == [f"{minute} A {counts[minute, 'A']} W {counts[minute, 'W']}" for minute in minutes]


@check("pybgpstream_realtime-024")
def no_alarm_is_raised_and_the_fullest_ten_seconds_are_named(ran: Ran) -> None:
    times = [element.time for element in _feed(ran, "W")]
    most = max(_trailing(times, time, 10) for time in times)
    assert most < 300
    assert ran.lines == [f"most withdrawals in a window: {most}"]


@check("pybgpstream_realtime-025")
def the_alarm_is_raised_at_thirty_and_cleared_at_five(ran: Ran) -> None:
    feed = _feed(ran, "AW")
    gone = [(place, each.time) for place, each in enumerate(feed) if each.kind == "W"]
    expected: list[str] = []
    for place, element in enumerate(feed):
        level = sum(element.time - 60 < time for before, time in gone if before <= place)
        up = bool(expected) and "RAISED" in expected[-1]
        if not up and level >= 30:
            expected.append(f"{element.time:.0f} RAISED at {level}")
        elif up and level <= 5:
            expected.append(f"{element.time:.0f} CLEARED at {level}")
    raised = sum("RAISED" in line for line in expected)
    assert raised > 0
    assert ran.lines == [*expected, f"alarms raised: {raised} open: {'RAISED' in expected[-1]}"]


@check("pybgpstream_realtime-027")
def the_five_most_restless_pairs_are_ranked(ran: Ran) -> None:
    paths = {
        key: len({element.path for element in elements if element.kind == "A"})
        for key, elements in ran.archive.histories.items()
        if key[0] in _peers(ran)
    }
    shown = [line.split() for line in ran.lines]
    assert len({(peer, prefix) for _, peer, prefix, *_ in shown}) == len(shown) == 5
    assert [int(number) for *_, number, _ in shown] == sorted(paths.values(), reverse=True)[:5]
    for collector, peer, prefix, number, unit in shown:
        assert (collector, int(number), unit) == (_collector(ran, peer), paths[peer, prefix], "paths")
