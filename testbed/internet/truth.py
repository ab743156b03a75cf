"""Measures how a planned event shows in the recorded messages: the ground truth that an analysis is compared with.

All measurements come from the records. Nothing from the plan is included that could not be found in the files.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any

from testbed.internet.bgp import AS_SEQUENCE, PathAttributes
from testbed.internet.simulation import RecordedMessage, World

Condition = Callable[[PathAttributes | None], bool]
"""Whether an event shows in a route; None stands for no route."""
Truth = dict[str, Any]


@dataclass(frozen=True)
class PlannedEvent:
    """An event as planned, and how it shows: in routes to `prefixes` (None: all), or in the states of `session`."""

    kind: str
    facts: Truth
    shows: Condition
    prefixes: tuple[str, ...] | None = None
    session: int | None = None
    """Index of the feed whose session breaks."""


@dataclass(frozen=True)
class Spell:
    """A time in which a feed's route to a prefix showed the event, from its first element to the one that ended it."""

    feed: int
    prefix: str
    start: float
    end: float | None
    before: PathAttributes | None
    during: PathAttributes | None


def get_path(attributes: PathAttributes) -> tuple[int, ...]:
    """The AS_SEQUENCE, from the peer to the origin; an AS_SET after it is left out."""
    return tuple(asn for kind, asns in attributes.as_path if kind == AS_SEQUENCE for asn in asns)


def get_origins(attributes: PathAttributes) -> tuple[int, ...]:
    """The last AS of the path, or the members of the AS_SET at its end."""
    kind, asns = attributes.as_path[-1]
    return asns[-1:] if kind == AS_SEQUENCE else asns


def count_longest_run(path: tuple[int, ...], asn: int) -> int:
    """The greatest number of times that `asn` stands in a row."""
    return max((len(list(run)) for number, run in groupby(path) if number == asn), default=0)


def is_absent(attributes: PathAttributes | None) -> bool:
    return attributes is None


def is_present(attributes: PathAttributes | None) -> bool:
    return attributes is not None


def has_origin(asn: int) -> Condition:
    return lambda attributes: attributes is not None and get_origins(attributes) == (asn,)


def has_triple(first: int, second: int, third: Collection[int]) -> Condition:
    """Condition: the path has `first`, `second` and one of `third` in a row; a prepended AS counts once."""

    def shows(attributes: PathAttributes | None) -> bool:
        path = [asn for asn, _ in groupby(get_path(attributes))] if attributes else []
        triples = zip(path, path[1:], path[2:], strict=False)
        return any((a, b) == (first, second) and c in third for a, b, c in triples)

    return shows


def has_run(asn: int, copies: int, towards: int | None, by_origin: bool) -> Condition:
    """Condition: `asn` stands at least `copies` times in a row, directly after `towards` unless that is None.

    With `by_origin`, `asn` must be the origin; otherwise it must not.
    """

    def shows(attributes: PathAttributes | None) -> bool:
        path = get_path(attributes) if attributes else ()
        if count_longest_run(path, asn) < copies or (path[-1] == asn) != by_origin:
            return False
        return towards is None or (towards, asn) in pairwise(path)

    return shows


def iterate_elements(messages: list[RecordedMessage]) -> Iterator[tuple[float, int, str, PathAttributes | None]]:
    """(time, feed, prefix, attributes) ordered by time; None for a withdrawal. State changes are left out."""
    for message in messages:
        for prefix in message.withdrawn:
            yield message.time, message.feed, prefix, None
        for prefix in message.announced:
            yield message.time, message.feed, prefix, message.attributes


def find_spells(start: World, messages: list[RecordedMessage], event: PlannedEvent) -> list[Spell]:
    """All spells of an event, ordered by start. Only elements end a spell; a broken session does not."""
    last: dict[tuple[int, str], PathAttributes | None] = {
        (index, prefix): attributes for index, table in enumerate(start.tables) for prefix, attributes in table.items()
    }
    running: dict[tuple[int, str], Spell] = {}
    result = []
    for time, feed, prefix, attributes in iterate_elements(messages):
        if event.prefixes is not None and prefix not in event.prefixes:
            continue
        key = feed, prefix
        before, last[key] = last.get(key), attributes
        if event.shows(attributes) and not event.shows(before):
            running[key] = Spell(feed, prefix, time, None, before, attributes)
        elif key in running and not event.shows(attributes):
            spell = running.pop(key)
            result.append(Spell(feed, prefix, spell.start, time, spell.before, spell.during))
    return sorted([*result, *running.values()], key=lambda spell: (spell.start, spell.feed, spell.prefix))


def measure_event(start: World, messages: list[RecordedMessage], event: PlannedEvent) -> Truth:
    """The event's entry in truth.json (schema: archive.py)."""
    truth: Truth = {"kind": event.kind, **event.facts}
    if event.session is not None:
        return truth | _measure_session(start, messages, event.session)
    found = find_spells(start, messages, event)
    ends = [spell.end for spell in found if spell.end is not None]
    truth["start"] = min(spell.start for spell in found)
    truth["end"] = max(ends) if len(ends) == len(found) else None
    first: dict[int, float] = {}
    for spell in found:
        first.setdefault(spell.feed, spell.start)
    address = {index: feed.address for index, feed in enumerate(start.feeds)}
    truth["peers_affected"] = [address[index] for index in sorted(first)]
    match event.kind:
        case "prefix_hijack" | "subprefix_hijack" | "moas":
            truth["first_seen"] = {address[index]: time for index, time in first.items()}
        case "route_leak":
            truth |= _measure_leak(found)
        case "prepending":
            runs = [count_longest_run(get_path(spell.during), event.facts["asn"]) for spell in found if spell.during]
            truth |= {"copies_seen": sorted(set(runs)), "prefixes": _list_prefixes(found)}
        case "flapping":
            truth["transitions"] = {
                address[i]: flaps for i in sorted(first) if (flaps := _count_flaps(start, messages, event, i))
            }
        case "blackholing":
            seen = [spell.during for spell in found if spell.during]
            truth["communities"] = sorted(
                {f"{a}:{b}" for route in seen for a, b in route.communities if b in (666, 9999)}
            )
        case "outage":
            truth["lost"] = {
                address[index]: sorted({spell.prefix for spell in found if spell.feed == index})
                for index in sorted(first)
            }
    return truth


def _list_prefixes(found: list[Spell]) -> list[str]:
    return sorted({spell.prefix for spell in found})


def _measure_leak(found: list[Spell]) -> Truth:
    pairs = [(get_path(spell.before), get_path(spell.during)) for spell in found if spell.before and spell.during]
    return {
        "prefixes": _list_prefixes(found),
        "mean_path_length_before": round(sum(len(before) for before, _ in pairs) / len(pairs), 4),
        "mean_path_length_leaked": round(sum(len(during) for _, during in pairs) / len(pairs), 4),
    }


def _count_flaps(start: World, messages: list[RecordedMessage], event: PlannedEvent, feed: int) -> dict[str, int]:
    """Prefix -> how often it changed between announced and withdrawn."""
    assert event.prefixes is not None
    up = {prefix: prefix in start.tables[feed] for prefix in event.prefixes}
    count = dict.fromkeys(event.prefixes, 0)
    for _, index, prefix, attributes in iterate_elements(messages):
        if index == feed and prefix in up and up[prefix] != (attributes is not None):
            up[prefix] = not up[prefix]
            count[prefix] += 1
    return count


def _measure_session(start: World, messages: list[RecordedMessage], feed: int) -> Truth:
    """The state changes, the size of the table lost, and how many prefixes were announced again within a minute."""
    states = [[message.time, *message.states] for message in messages if message.feed == feed and message.states]
    broken, established = states[0][0], states[-1][0]
    table = set(start.tables[feed])
    again = set()
    for time, index, prefix, attributes in iterate_elements(messages):
        if index != feed:
            continue
        if time <= broken:
            (table.discard if attributes is None else table.add)(prefix)
        elif time <= established + 60 and attributes is not None:
            again.add(prefix)
    return {
        "start": broken,
        "end": established,
        "peers_affected": [start.feeds[feed].address],
        "states": states,
        "lost": len(table),
        "announced_again": len(again),
    }
