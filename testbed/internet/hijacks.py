"""Plans second origins of a prefix: hijacks of the prefix or of a part of it, and legitimate multiple origins."""

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
"""Least and greatest share of the full feeds that switch to a second origin."""


def plan_prefix_hijack(world: World, rng: random.Random, reserved: Reservations) -> EventPlan:
    """Another AS announces a victim's prefix, and some of the peers switch to it."""
    for _ in range(ATTEMPTS):
        prefix, owner = draw_victim(world, rng, reserved, 4)
        attacker = draw_stranger(world, rng, owner)
        if is_seen_by_share(world, prefix, attacker, SOME):
            facts = {"victim": owner, "attacker": attacker}
            return _plan_second_origin(world, rng, reserved, "prefix_hijack", prefix, attacker, facts)
    raise build_error("prefix_hijack", world)


def plan_moas(world: World, rng: random.Random, reserved: Reservations) -> EventPlan:
    """A second AS begins to originate a prefix too, and goes on doing so."""
    for _ in range(ATTEMPTS):
        prefix, owner = draw_victim(world, rng, reserved, 4)
        other = draw_stranger(world, rng, owner)
        if is_seen_by_share(world, prefix, other, SOME):
            facts = {"origins": sorted((owner, other)), "new_origin": other}
            changes, planned = _plan_second_origin(world, rng, reserved, "moas", prefix, other, facts)
            return changes[:1], planned
    raise build_error("moas", world)


def plan_subprefix_hijack(world: World, rng: random.Random, reserved: Reservations, version: int = 4) -> EventPlan:
    """Another AS announces a part of a victim's prefix; it reaches every full feed of that IP version."""
    for _ in range(ATTEMPTS):
        covering, owner = draw_victim(world, rng, reserved, version)
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
        return plan_subprefix_hijack(world, rng, reserved, version)
    reserved.prefixes.add(covering)
    facts = {"victim": owner, "attacker": attacker, "covering_prefix": covering}
    return _plan_second_origin(world, rng, reserved, "subprefix_hijack", prefix, attacker, facts)


def plan_subprefix_hijack_ipv6(world: World, rng: random.Random, reserved: Reservations) -> EventPlan:
    """Another AS announces a /48 of a victim's IPv6 block."""
    return plan_subprefix_hijack(world, rng, reserved, 6)


def _plan_second_origin(
    world: World, rng: random.Random, reserved: Reservations, kind: str, prefix: str, asn: int, facts: Truth
) -> EventPlan:
    reserved.prefixes.add(prefix)
    start, own = draw_start(rng), world.plan.get(prefix, ())
    changes: list[Change] = [
        Announce(start, {prefix: (*own, Announcement(Origination(asn)))}),
        Announce(start + rng.uniform(600, 1500), {prefix: own}),
    ]
    facts = {"prefix": prefix, "ip_version": get_ip_version(prefix), **facts}
    return changes, [PlannedEvent(kind, facts, has_origin(asn), (prefix,))]
