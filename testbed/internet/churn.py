"""Plans an hour of ordinary churn: the changes that happen in every scenario, beside its events."""

import random
from dataclasses import replace

from testbed.internet.changes import END, START, Announce, Change, SetLinks, SetMed
from testbed.internet.event_candidates import Reservations, count_link_uses, get_origin, list_free_prefixes
from testbed.internet.prefixes import RIS_BEACONS, Announcement
from testbed.internet.simulation import World

SLOT = 300  # seconds that a RIS file covers: some change happens in each
LAST = END - 40  # later changes could be recorded after the end
FAILURES, REMARKS, BLIPS = 10, 18, 3
METRICS = 3  # of each collector in each slot
AFFECTED = 12, 110  # a link may fail if it carries at least and at most so many of the feeds' routes


def plan_churn(world: World, rng: random.Random, reserved: Reservations) -> list[Change]:
    """Plan beacons, failing links, new communities, short withdrawals, new metrics and repeated announcements.

    Churn leaves reserved prefixes to the events, except that failing links change paths to all prefixes.
    """
    return [
        *_plan_beacons(world, rng),
        *_plan_link_failures(world, rng, reserved),
        *_plan_origin_changes(world, rng, reserved),
        *_plan_metric_changes(world, rng),
    ]


def _plan_beacons(world: World, rng: random.Random) -> list[Change]:
    """RIS beacons come up on the hour; the fictional beacons go down and up in turn, every ten minutes."""
    changes: list[Change] = []
    ris = {prefix: _stamp_beacon(world, prefix) for prefix in RIS_BEACONS}
    changes.append(Announce(START + rng.uniform(0.5, 3), ris))
    own = [prefix for prefix in world.beacons if prefix not in RIS_BEACONS]
    for minute in range(10, 60, 10):
        up = {prefix: world.plan[prefix] if minute % 20 == 0 else () for prefix in own}
        changes.append(Announce(START + 60 * minute + rng.uniform(0.5, 3), up))
    return changes


def _stamp_beacon(world: World, prefix: str) -> tuple[Announcement, ...]:
    """Announce a RIS beacon with its time in AGGREGATOR: 10.x.y.z, the seconds since the month began."""
    month = 1_709_251_200  # 2024-03-01
    seconds = START - month
    address = f"10.{seconds >> 16}.{seconds >> 8 & 255}.{seconds & 255}"
    return (replace(world.plan[prefix][0], aggregator=(get_origin(world, prefix), address)),)


def _plan_link_failures(world: World, rng: random.Random, reserved: Reservations) -> list[Change]:
    """Fail links of different multihomed fictional ASes: links that some of the feeds' routes use, but not most."""
    used = count_link_uses(world)
    net, changes, chosen = world.topology, list[Change](), 0
    for asn in rng.sample(net.fictional, len(net.fictional)):
        providers = net.find_providers(asn)
        links = [(asn, provider) for provider in providers if AFFECTED[0] <= used[asn, provider] <= AFFECTED[1]]
        if len(providers) < 2 or not links or asn in reserved.ases:
            continue
        link, time = rng.choice(links), START + rng.uniform(20, 2400)
        back = min(time + rng.uniform(60, 900), LAST)
        changes += [SetLinks(time, (link,), up=False), SetLinks(back, (link,), up=True)]
        chosen += 1
        if chosen == FAILURES:
            break
    return changes


def _plan_origin_changes(world: World, rng: random.Random, reserved: Reservations) -> list[Change]:
    """Some prefixes get another large community, and a few are withdrawn for a minute."""
    changes: list[Change] = []
    prefixes = list_free_prefixes(world, reserved, 4) + list_free_prefixes(world, reserved, 6)
    chosen = rng.sample(prefixes, REMARKS + BLIPS)
    for prefix in chosen[:REMARKS]:
        marked = replace(
            world.plan[prefix][0], large_communities=((get_origin(world, prefix), 100, rng.randrange(5, 9)),)
        )
        changes.append(Announce(rng.uniform(START + 10, LAST), {prefix: (marked,)}))
    for prefix in chosen[REMARKS:]:
        time = rng.uniform(START + 10, LAST - 120)
        changes.append(Announce(time, {prefix: ()}))
        changes.append(Announce(time + rng.uniform(30, 100), {prefix: world.plan[prefix]}))
    return changes


def _plan_metric_changes(world: World, rng: random.Random) -> list[Change]:
    """In each slot, some peers of each collector announce prefixes again: with another metric, or unchanged."""
    changes: list[Change] = []
    for name in dict.fromkeys(feed.collector.name for feed in world.feeds):
        indices = [index for index, feed in enumerate(world.feeds) if feed.collector.name == name and feed.full]
        for slot in range(START, END, SLOT):
            for _ in range(METRICS):
                index = rng.choice(indices)
                prefixes = rng.sample(sorted(world.tables[index]), rng.randrange(1, 6))
                med = rng.randrange(1, 60) * 5 + 1 if world.feeds[index].sends_med else None
                changes.append(SetMed(rng.uniform(slot + 1, min(slot + SLOT - 10, LAST)), index, tuple(prefixes), med))
    return changes
