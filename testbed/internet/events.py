"""Plans events: the changes that make them happen in the simulation, and how they show in the records.

A planner takes the world, a source of randomness, and what other events have reserved. It tries candidates until the
collectors would see the event for what it is: a leak that no peer receives would not show in the files.
"""

import ipaddress
import random
from dataclasses import replace

from testbed.internet.changes import START, Announce, Change, SetLeak, SetPrepend, SetSession
from testbed.internet.collectors import WELL_KNOWN
from testbed.internet.event_candidates import (
    ATTEMPTS,
    EventPlan,
    Reservations,
    build_error,
    count_link_uses,
    draw_start,
    draw_victim,
    find_feed_paths,
    get_ip_version,
    get_origin,
    list_free_prefixes,
    wrap_path,
)
from testbed.internet.prefixes import Announcement
from testbed.internet.routing import Origination, RouteLeak
from testbed.internet.simulation import World
from testbed.internet.topology import CUSTOMER
from testbed.internet.truth import PlannedEvent, count_longest_run, has_run, has_triple, is_absent, is_present


def plan_route_leak(world: World, rng: random.Random, reserved: Reservations) -> EventPlan:
    """A multihomed AS exports to one provider what it learned from the others (RFC 7908, type 1)."""
    net = world.topology
    leakers = [asn for asn in (*net.stubs, *net.access) if len(net.find_providers(asn)) > 1]
    left_alone = reserved.prefixes.union(world.beacons)
    fictional = [
        prefix for prefix in world.plan if get_origin(world, prefix) in net.fictional and prefix not in left_alone
    ]
    for _ in range(ATTEMPTS):
        leaker = rng.choice(leakers)
        target = rng.choice(net.find_providers(leaker))
        if target not in net.fictional:
            continue
        leak = RouteLeak(leaker, target)
        sources = [asn for asn, kind in net.neighbours[leaker].items() if kind != CUSTOMER and asn != target]
        shows = has_triple(target, leaker, sources)
        chosen, total = [], 0
        for prefix in rng.sample(fictional, len(fictional)):
            originations = tuple(each.origination for each in world.plan[prefix])
            paths = find_feed_paths(world, get_ip_version(prefix), originations, leak=leak)
            changed = sum(shows(wrap_path(path)) for path, _ in paths)
            if changed and total + changed <= 500:
                chosen.append(prefix)
                total += changed
        if total < 150 or len(chosen) < 15:
            continue
        reserved.ases.add(leaker)
        start, facts = draw_start(rng), {"leaker": leaker, "leaked_to": target, "leaked_from": sources}
        changes: list[Change] = [
            SetLeak(start, leak, frozenset(chosen)),
            SetLeak(start + rng.uniform(600, 1500), None),
        ]
        return changes, [PlannedEvent("route_leak", facts, shows)]
    raise build_error("route_leak", world)


def plan_prepending(world: World, rng: random.Random, reserved: Reservations) -> EventPlan:
    """Three origins begin to prepend, one of them towards only one provider; a transit AS does so towards a
    neighbour."""
    changes: list[Change] = []
    events = []
    for towards_one in (False, True, False):
        change, event = _plan_origin_prepending(world, rng, reserved, towards_one)
        changes += change
        events += event
    change, event = _plan_transit_prepending(world, rng, reserved)
    return changes + change, events + event


def plan_flapping(world: World, rng: random.Random, reserved: Reservations) -> EventPlan:
    """One prefix goes down and up with a short period; up to three prefixes of another AS do so with a longer one."""
    changes: list[Change] = []
    events = []
    for period, share in ((rng.choice((100, 120, 150)), 1), (rng.choice((240, 300)), 3)):
        _, asn = draw_victim(world, rng, reserved, 4)
        prefixes = [prefix for prefix in list_free_prefixes(world, reserved, 4) if get_origin(world, prefix) == asn][
            :share
        ]
        reserved.prefixes.update(prefixes)
        start = START + rng.uniform(30, 90)
        for cycle in range(int(2100 / period)):
            down = start + cycle * period
            changes.append(Announce(down, dict.fromkeys(prefixes, ())))
            changes.append(Announce(down + period * 0.5, {prefix: world.plan[prefix] for prefix in prefixes}))
        facts = {"origin": asn, "prefixes": prefixes, "period": period}
        events.append(PlannedEvent("flapping", facts, is_absent, tuple(prefixes)))
    return changes, events


def plan_blackholing(world: World, rng: random.Random, reserved: Reservations) -> EventPlan:
    """Three ASes under attack announce a host (two in IPv4, one in IPv6) to their providers, with BLACKHOLE communities
    (RFC 7999)."""
    changes: list[Change] = []
    events = []
    for version in (4, 4, 6):
        prefix, owner, announcement = _choose_blackhole(world, rng, reserved, version)
        reserved.prefixes.add(prefix)
        start = draw_start(rng)
        changes.append(Announce(start, {prefix: (announcement,)}))
        changes.append(Announce(start + rng.uniform(500, 1600), {prefix: ()}))
        facts = {"prefix": prefix, "victim": owner, "providers": world.topology.find_providers(owner)}
        events.append(PlannedEvent("blackholing", facts, is_present, (prefix,)))
    return changes, events


def plan_outage(world: World, rng: random.Random, reserved: Reservations) -> EventPlan:
    """All prefixes of an AS disappear at every peer, and come back."""
    unused = set(list_free_prefixes(world, reserved, 4)) | set(list_free_prefixes(world, reserved, 6))
    for asn in rng.sample(world.topology.stubs, len(world.topology.stubs)):
        prefixes = [prefix for prefix, each in world.plan.items() if asn in [one.origination.asn for one in each]]
        if len(prefixes) >= 3 and unused.issuperset(prefixes):
            break
    else:
        raise build_error("outage", world)
    reserved.prefixes.update(prefixes)
    start = draw_start(rng)
    changes: list[Change] = [
        Announce(start, dict.fromkeys(prefixes, ())),
        Announce(start + rng.uniform(600, 1200), {prefix: world.plan[prefix] for prefix in prefixes}),
    ]
    return changes, [PlannedEvent("outage", {"asn": asn, "prefixes": prefixes}, is_absent, tuple(prefixes))]


def plan_peer_down(world: World, rng: random.Random, reserved: Reservations, after: float = 0) -> EventPlan:
    """A session of a RIS collector breaks and comes back up; only RIS records state changes."""
    candidates = [
        index
        for index, feed in enumerate(world.feeds)
        if feed.collector.is_ris and feed.full and feed.ip_version == 4 and feed.asn in world.topology.fictional
    ]
    index = rng.choice(candidates)
    feed, start = world.feeds[index], draw_start(rng) + after
    facts = {"peer": feed.address, "peer_asn": feed.asn, "collector": feed.collector.name}
    changes: list[Change] = [SetSession(start, index, False), SetSession(start + rng.uniform(240, 700), index, True)]
    return changes, [PlannedEvent("peer_down", facts, is_absent, (), index)]


def plan_late_peer_down(world: World, rng: random.Random, reserved: Reservations) -> EventPlan:
    """As `plan_peer_down`, but after the half hour in which the other events of a mixture happen."""
    return plan_peer_down(world, rng, reserved, after=2400)


def _plan_origin_prepending(world: World, rng: random.Random, reserved: Reservations, towards_one: bool) -> EventPlan:
    net = world.topology
    for _ in range(ATTEMPTS):
        asn = draw_victim(world, rng, reserved, 4)[1]
        extra = rng.randrange(2, 7)
        providers = net.find_providers(asn)
        towards = rng.choice(providers) if towards_one else None
        if towards_one and len(providers) < 2:
            continue
        to = tuple(net.neighbours[asn]) if towards is None else (towards,)
        new = Origination(asn, prepends=tuple((neighbour, extra) for neighbour in to))
        if sum(count_longest_run(path, asn) > 1 for path, _ in find_feed_paths(world, 4, (new,))) >= 3:
            break
    else:
        raise build_error("prepending", world)
    unused = list_free_prefixes(world, reserved, 4) + list_free_prefixes(world, reserved, 6)
    prefixes = [prefix for prefix in unused if get_origin(world, prefix) == asn][:4]
    reserved.prefixes.update(prefixes)
    reserved.ases.add(asn)
    start = draw_start(rng)
    before = {prefix: world.plan[prefix] for prefix in prefixes}
    after = {prefix: (replace(each[0], origination=new),) for prefix, each in before.items()}
    changes: list[Change] = [Announce(start, after)]
    if not towards_one:
        changes.append(Announce(start + rng.uniform(1200, 2400), before))
    facts = {"role": "origin", "asn": asn, "towards": towards, "extra": extra}
    return changes, [
        PlannedEvent("prepending", facts, has_run(asn, 1 + extra, towards, by_origin=True), tuple(prefixes))
    ]


def _plan_transit_prepending(world: World, rng: random.Random, reserved: Reservations) -> EventPlan:
    """A transit AS prepends towards a neighbour, and at least two feeds keep using routes over that link."""
    links = [
        link for link, uses in sorted(count_link_uses(world).items()) if link[0] in world.topology.transit and uses > 5
    ]
    for asn, towards in rng.sample(links, len(links)):
        extra = rng.randrange(2, 4)
        shows = has_run(asn, 1 + extra, towards, by_origin=False)
        seen = []
        for prefix, each in world.plan.items():
            originations = tuple(one.origination for one in each)
            paths = find_feed_paths(world, get_ip_version(prefix), originations, prepends={(asn, towards): extra})
            seen += [path[0] for path, _ in paths if shows(wrap_path(path))]
        if 5 <= len(seen) <= 150 and len(set(seen)) >= 2:
            break
    else:
        raise build_error("prepending", world)
    reserved.ases.update((asn, towards))
    start = draw_start(rng)
    changes: list[Change] = [
        SetPrepend(start, (asn, towards), extra),
        SetPrepend(start + rng.uniform(1200, 2400), (asn, towards), 0),
    ]
    facts = {"role": "transit", "asn": asn, "towards": towards, "extra": extra}
    return changes, [PlannedEvent("prepending", facts, shows)]


def _choose_blackhole(
    world: World, rng: random.Random, reserved: Reservations, version: int
) -> tuple[str, int, Announcement]:
    """A host route that at least two feeds see: it spreads two ASes beyond the providers it is announced to."""
    net = world.topology
    for _ in range(ATTEMPTS):
        covering, owner = draw_victim(world, rng, reserved, version)
        providers = net.find_providers(owner)
        origination = Origination(owner, only_to=tuple(providers), scope=3)
        network = ipaddress.ip_network(covering)
        host = f"{network.network_address + rng.randrange(1, 250)}/{network.max_prefixlen}"
        if len(find_feed_paths(world, version, (origination,))) < 2 or host in reserved.prefixes:
            continue
        known = [asn for asn in providers if asn <= WELL_KNOWN]
        communities = ((WELL_KNOWN, 666), *((asn, 9999) for asn in known))
        large = tuple((asn, 666, 0) for asn in providers if asn > WELL_KNOWN)
        announcement = Announcement(origination, communities=communities, large_communities=large)
        return host, owner, announcement
    raise build_error("blackholing", world)
