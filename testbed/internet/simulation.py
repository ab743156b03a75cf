"""Simulates changes of the small Internet over an hour, and the messages that route collectors receive.

A change (an announcement, a failed link, a leak ...) takes effect everywhere at once. Some seconds later each peer
reports how its own routes changed, in messages that each hold all prefixes with the same attributes.
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from testbed.internet.bgp import PathAttributes
from testbed.internet.changes import (
    END,
    START,
    Announce,
    Change,
    SetLeak,
    SetLinks,
    SetMed,
    SetPrepend,
    SetSession,
)
from testbed.internet.collectors import Feed, build_feeds, export_route
from testbed.internet.mrt_writer import CONNECT, ESTABLISHED, IDLE, OPEN_CONFIRM, OPEN_SENT
from testbed.internet.prefixes import RIS_BEACONS, Announcement, Announcements, plan_addresses
from testbed.internet.routing import Link, RouteCache, RouteLeak, RoutingOutcome
from testbed.internet.topology import Topology, build_topology

RoutingTable = dict[str, PathAttributes]
"""Prefix -> the attributes that a peer last announced for it."""


@dataclass(frozen=True)
class RecordedMessage:
    """What a collector records of a feed at `time`: announced prefixes with their attributes, withdrawn prefixes, or a
    change of state."""

    time: float
    feed: int
    announced: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()
    attributes: PathAttributes | None = None
    states: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class World:
    """A seed's Internet at START, which all its scenarios share."""

    seed: int
    topology: Topology
    plan: Announcements
    beacons: tuple[str, ...]
    feeds: tuple[Feed, ...]
    cache: RouteCache
    tables: tuple[RoutingTable, ...]
    """What each feed announces at START: the content of the RIB dumps."""


@lru_cache(maxsize=2)
def build_world(seed: int) -> World:
    """Build the world of a seed, once for all scenarios (0.2 s)."""
    net = build_topology(seed)
    plan, beacons = plan_addresses(net, seed)
    sources, cache = build_feeds(net, seed), RouteCache(net.neighbours)
    outcomes = {prefix: _find_outcome(cache, get_initial_announcements(prefix, plan)) for prefix in plan}
    tables = []
    for feed in sources:
        offers = {
            p: _export_offer(net, feed, get_initial_announcements(p, plan), outcomes[p], None)
            for p in plan
            if feed.carries_prefix(p)
        }
        tables.append({prefix: attributes for prefix, attributes in offers.items() if attributes is not None})
    return World(seed, net, plan, beacons, sources, cache, tuple(tables))


def get_initial_announcements(prefix: str, plan: Announcements) -> tuple[Announcement, ...]:
    """A prefix's announcements at START. RIS beacons are still down then: they come up on the hour."""
    return () if prefix in RIS_BEACONS else plan[prefix]


def _find_outcome(
    cache: RouteCache,
    announcements: tuple[Announcement, ...],
    down: frozenset[Link] = frozenset(),
    prepends: Mapping[Link, int] | None = None,
    leak: RouteLeak | None = None,
) -> RoutingOutcome:
    return cache.find_outcome(tuple(each.origination for each in announcements), down, prepends or {}, leak)


def _export_offer(
    net: Topology, feed: Feed, announcements: tuple[Announcement, ...], outcome: RoutingOutcome, med: int | None
) -> PathAttributes | None:
    route = outcome.routes.get(feed.asn)
    return None if route is None else export_route(net, feed, announcements[route.origination], route, med)


class Simulation:
    """Applies changes, which must come in order of time; `messages` and `tables` (one per feed) hold the results."""

    def __init__(self, start: World, rng: random.Random) -> None:
        self._world, self._rng = start, rng
        self._announcements = {prefix: get_initial_announcements(prefix, start.plan) for prefix in start.plan}
        self._down: frozenset[Link] = frozenset()
        self._prepends: dict[Link, int] = {}
        self._leak: RouteLeak | None = None
        self._leaked = frozenset[str]()
        self._outcomes = {prefix: self._find_outcome(prefix) for prefix in self._announcements}
        self._meds: dict[tuple[int, str], int] = {}
        self._latency = [rng.uniform(0.5, 4) for _ in start.feeds]
        self._last = [float(START)] * len(start.feeds)
        self._lost: set[int] = set()
        self.tables: list[RoutingTable] = [dict(table) for table in start.tables]
        self.messages: list[RecordedMessage] = []

    def apply_change(self, change: Change) -> None:
        match change:
            case Announce(time, announcements):
                self._announcements |= announcements
                self._outcomes |= {prefix: self._find_outcome(prefix) for prefix in announcements}
                self._report_changes(time, announcements)
            case SetLinks(time, links, up):
                both = {link for a, b in links for link in ((a, b), (b, a))}
                self._down = self._down - both if up else self._down | both
                self._reroute(time)
            case SetPrepend(time, link, copies):
                self._prepends = {key: n for key, n in ({**self._prepends, link: copies}).items() if n}
                self._reroute(time)
            case SetLeak(time, leak, prefixes):
                self._leak, self._leaked = leak, prefixes
                self._reroute(time)
            case SetMed(time, feed, prefixes, med):
                self._repeat_announcements(time, feed, prefixes, med)
            case SetSession(time, feed, up):
                self._establish_session(time, feed) if up else self._lose_session(time, feed)

    def _find_outcome(self, prefix: str) -> RoutingOutcome:
        leak = self._leak if prefix in self._leaked else None
        return _find_outcome(self._world.cache, self._announcements[prefix], self._down, self._prepends, leak)

    def _reroute(self, time: float) -> None:
        after = {prefix: self._find_outcome(prefix) for prefix in self._announcements}
        changed = [prefix for prefix, outcome in after.items() if outcome is not self._outcomes[prefix]]
        before, self._outcomes = self._outcomes, after
        self._report_changes(time, changed, before)

    def _report_changes(
        self, time: float, prefixes: Iterable[str], before: Mapping[str, RoutingOutcome] | None = None
    ) -> None:
        """Let every feed report changes of its routes to `prefixes`. Routes equal to those in `before` are skipped."""
        of_version = {4: [p for p in prefixes if ":" not in p], 6: [p for p in prefixes if ":" in p]}
        for index, feed in enumerate(self._world.feeds):
            if index in self._lost:
                continue
            new: RoutingTable = {}
            gone = []
            for prefix in of_version[feed.ip_version]:
                if before and before[prefix].routes.get(feed.asn) == self._outcomes[prefix].routes.get(feed.asn):
                    continue
                attributes = self._export_offer(index, prefix)
                if attributes is None and prefix in self.tables[index]:
                    gone.append(prefix)
                elif attributes is not None and attributes != self.tables[index].get(prefix):
                    new[prefix] = attributes
            if new or gone:
                delay = self._latency[index] + self._rng.uniform(0, 8)
                self._send_updates(time + delay, index, new, gone)

    def _export_offer(self, index: int, prefix: str) -> PathAttributes | None:
        feed, med = self._world.feeds[index], self._meds.get((index, prefix))
        return _export_offer(self._world.topology, feed, self._announcements[prefix], self._outcomes[prefix], med)

    def _send_updates(self, time: float, index: int, new: RoutingTable, gone: list[str], gap: float = 0.3) -> None:
        """Send withdrawals first, in one message; then one message for each set of attributes."""
        if gone:
            time = self._record_message(RecordedMessage(time, index, withdrawn=tuple(gone)))
        packed: dict[PathAttributes, list[str]] = {}
        for prefix, attributes in new.items():
            packed.setdefault(attributes, []).append(prefix)
        for attributes, prefixes in packed.items():
            time = self._record_message(RecordedMessage(time, index, announced=tuple(prefixes), attributes=attributes))
            time += self._rng.uniform(0.01, gap)
        for prefix in gone:
            del self.tables[index][prefix]
        self.tables[index] |= new

    def _repeat_announcements(self, time: float, index: int, prefixes: tuple[str, ...], med: int | None) -> None:
        known = [prefix for prefix in prefixes if prefix in self.tables[index]]
        if index in self._lost or not known:
            return
        if med is not None:
            self._meds |= {(index, prefix): med for prefix in known}
        table = {prefix: self._export_offer(index, prefix) or self.tables[index][prefix] for prefix in known}
        self._send_updates(time, index, table, [])

    def _lose_session(self, time: float, index: int) -> None:
        self._lost.add(index)
        self.tables[index] = {}
        self._record_message(RecordedMessage(time, index, states=(ESTABLISHED, IDLE)))

    def _establish_session(self, time: float, index: int) -> None:
        self._lost.discard(index)
        steps = (IDLE, CONNECT, OPEN_SENT, OPEN_CONFIRM, ESTABLISHED)
        for old, new in pairwise(steps):
            time = self._record_message(RecordedMessage(time, index, states=(old, new))) + self._rng.uniform(0.1, 1)
        offers = {p: self._export_offer(index, p) for p in self._outcomes if self._world.feeds[index].carries_prefix(p)}
        table = {prefix: attributes for prefix, attributes in offers.items() if attributes is not None}
        self._send_updates(time, index, table, [], gap=0.1)

    def _record_message(self, message: RecordedMessage) -> float:
        """Record a message, after all earlier messages of its feed. Returns its exact time."""
        time = self._last[message.feed] = max(message.time, self._last[message.feed] + 0.001)
        if not START < time < END:
            raise ValueError(f"a message at {time} lies outside the archive's hour")
        self.messages.append(replace(message, time=round(time, 6)))
        return time


def simulate_changes(
    start: World, changes: Iterable[Change], rng: random.Random
) -> tuple[list[RecordedMessage], list[RoutingTable]]:
    """Simulate the changes. Returns the messages ordered by time, with the times that the files hold (whole seconds at
    RIS), and the final tables.
    """
    simulation = Simulation(start, rng)
    for change in sorted(changes, key=lambda each: each.time):
        simulation.apply_change(change)
    messages = sorted(simulation.messages, key=lambda message: message.time)
    ris = [feed.collector.is_ris for feed in start.feeds]
    whole = [replace(message, time=int(message.time)) if ris[message.feed] else message for message in messages]
    return whole, simulation.tables
