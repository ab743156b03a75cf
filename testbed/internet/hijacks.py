"""A seed's Internet into second origins: hijacks of prefixes and of parts of them, and legitimate multiple origins."""

import ipaddress
import random

from testbed.internet.changes import Announce, Change
from testbed.internet.event_candidates import (
    ATTEMPTS,
    EventPlan,
    Reservations,
    build_error,
    draw_start,
    draw_stranger,
    draw_victim,
    get_ip_version,
    is_seen_by_share,
)
from testbed.internet.prefixes import Announcement
from testbed.internet.routing import Origination
from testbed.internet.simulation import World
from testbed.internet.truth import PlannedEvent, Truth, has_origin

SOME = 0.2, 0.8
"""Shares of the full feeds."""


def plan_prefix_hijack(world: World, rng: random.Random, taken: Reservations) -> EventPlan:
    """Another AS announces a victim's prefix, and a part of the peers believes it."""
    for _ in range(ATTEMPTS):
        prefix, owner = draw_victim(world, rng, taken, 4)
        attacker = draw_stranger(world, rng, owner)
        if is_seen_by_share(world, prefix, attacker, SOME):
            facts = {"victim": owner, "attacker": attacker}
            return _plan_second_origin(world, rng, taken, "prefix_hijack", prefix, attacker, facts)
    raise build_error("prefix_hijack", world)


def plan_moas(world: World, rng: random.Random, taken: Reservations) -> EventPlan:
    """A second AS joins in the origination of a prefix and stays."""
    for _ in range(ATTEMPTS):
        prefix, owner = draw_victim(world, rng, taken, 4)
        other = draw_stranger(world, rng, owner)
        if is_seen_by_share(world, prefix, other, SOME):
            facts = {"origins": sorted((owner, other)), "new_origin": other}
            changes, planned = _plan_second_origin(world, rng, taken, "moas", prefix, other, facts)
            return changes[:1], planned
    raise build_error("moas", world)


def plan_subprefix_hijack(world: World, rng: random.Random, taken: Reservations, version: int = 4) -> EventPlan:
    """Another AS announces a part of a victim's prefix, and every full feed of that IP version carries it."""
    for _ in range(ATTEMPTS):
        covering, owner = draw_victim(world, rng, taken, version)
        network, length = ipaddress.ip_network(covering), 24 if version == 4 else 48
        if length - 16 <= network.prefixlen <= length - 2:
            break
    else:
        raise build_error("subprefix_hijack", world)
    attacker = draw_stranger(world, rng, owner)
    step = 1 << (network.max_prefixlen - length)
    piece = int(network.network_address) + step * rng.randrange(1 << (length - network.prefixlen))
    prefix = str(ipaddress.ip_network((piece, length)))
    if prefix in world.plan:
        return plan_subprefix_hijack(world, rng, taken, version)
    taken.prefixes.add(covering)
    facts = {"victim": owner, "attacker": attacker, "covering_prefix": covering}
    return _plan_second_origin(world, rng, taken, "subprefix_hijack", prefix, attacker, facts)


def plan_subprefix_hijack_ipv6(world: World, rng: random.Random, taken: Reservations) -> EventPlan:
    """A /48 of a victim's IPv6 block."""
    return plan_subprefix_hijack(world, rng, taken, 6)


def _plan_second_origin(
    world: World, rng: random.Random, taken: Reservations, kind: str, prefix: str, asn: int, facts: Truth
) -> EventPlan:
    taken.prefixes.add(prefix)
    start, own = draw_start(rng), world.plan.get(prefix, ())
    changes: list[Change] = [
        Announce(start, {prefix: (*own, Announcement(Origination(asn)))}),
        Announce(start + rng.uniform(600, 1500), {prefix: own}),
    ]
    facts = {"prefix": prefix, "ip_version": get_ip_version(prefix), **facts}
    return changes, [PlannedEvent(kind, facts, has_origin(asn), (prefix,))]
