"""A seed's Internet into second origins: hijacks of prefixes and of parts of them, and legitimate multiple origins."""

import ipaddress
import random

from testbed.internet.changes import Announce, Change
from testbed.internet.event_candidates import (
    ATTEMPTS,
    Plan,
    Taken,
    nothing,
    soon,
    stranger,
    version_of,
    victim,
    within,
)
from testbed.internet.prefixes import Announcement
from testbed.internet.routing import Origination
from testbed.internet.simulation import World
from testbed.internet.truth import Planned, Truth, has_origin

SOME = 0.2, 0.8
"""Shares of the full feeds."""


def prefix_hijack(world: World, rng: random.Random, taken: Taken) -> Plan:
    """Another AS announces a victim's prefix, and a part of the peers believes it."""
    for _ in range(ATTEMPTS):
        prefix, owner = victim(world, rng, taken, 4)
        attacker = stranger(world, rng, owner)
        if within(world, prefix, attacker, SOME):
            facts = {"victim": owner, "attacker": attacker}
            return _second_origin(world, rng, taken, "prefix_hijack", prefix, attacker, facts)
    raise nothing("prefix_hijack", world)


def moas(world: World, rng: random.Random, taken: Taken) -> Plan:
    """A second AS joins in the origination of a prefix and stays."""
    for _ in range(ATTEMPTS):
        prefix, owner = victim(world, rng, taken, 4)
        other = stranger(world, rng, owner)
        if within(world, prefix, other, SOME):
            facts = {"origins": sorted((owner, other)), "new_origin": other}
            changes, planned = _second_origin(world, rng, taken, "moas", prefix, other, facts)
            return changes[:1], planned
    raise nothing("moas", world)


def subprefix_hijack(world: World, rng: random.Random, taken: Taken, version: int = 4) -> Plan:
    """Another AS announces a part of a victim's prefix, and every full feed of that IP version carries it."""
    for _ in range(ATTEMPTS):
        covering, owner = victim(world, rng, taken, version)
        network, length = ipaddress.ip_network(covering), 24 if version == 4 else 48
        if length - 16 <= network.prefixlen <= length - 2:
            break
    else:
        raise nothing("subprefix_hijack", world)
    attacker = stranger(world, rng, owner)
    step = 1 << (network.max_prefixlen - length)
    piece = int(network.network_address) + step * rng.randrange(1 << (length - network.prefixlen))
    prefix = str(ipaddress.ip_network((piece, length)))
    if prefix in world.plan:
        return subprefix_hijack(world, rng, taken, version)
    taken.prefixes.add(covering)
    facts = {"victim": owner, "attacker": attacker, "covering_prefix": covering}
    return _second_origin(world, rng, taken, "subprefix_hijack", prefix, attacker, facts)


def subprefix_hijack_ipv6(world: World, rng: random.Random, taken: Taken) -> Plan:
    """A /48 of a victim's IPv6 block."""
    return subprefix_hijack(world, rng, taken, 6)


def _second_origin(
    world: World, rng: random.Random, taken: Taken, kind: str, prefix: str, asn: int, facts: Truth
) -> Plan:
    taken.prefixes.add(prefix)
    start, own = soon(rng), world.plan.get(prefix, ())
    changes: list[Change] = [
        Announce(start, {prefix: (*own, Announcement(Origination(asn)))}),
        Announce(start + rng.uniform(600, 1500), {prefix: own}),
    ]
    facts = {"prefix": prefix, "ip_version": version_of(prefix), **facts}
    return changes, [Planned(kind, facts, has_origin(asn), (prefix,))]
