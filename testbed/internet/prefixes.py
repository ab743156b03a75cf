"""Draws the address plan of a topology: which AS announces which prefix, with which attributes.

The real core networks announce prefixes that they hold. The fictional networks use 21.0.0.0/8, 22.0.0.0/8,
28.0.0.0/8 and 30.0.0.0/8, which are allocated but hardly announced, and 2d00::/8, which IANA keeps in reserve
(https://www.iana.org/assignments/ipv6-unicast-address-assignments).
"""

import ipaddress
import random
from dataclasses import dataclass, replace

from testbed.internet.bgp import EGP, IGP, INCOMPLETE
from testbed.internet.routing import Origination
from testbed.internet.topology import CONTENT, K_ROOT, RIPE_NCC, RIS_BEACON, Topology

REAL_PREFIXES: dict[int, tuple[str, ...]] = {
    174: ("38.0.0.0/8", "2001:550::/32"),
    1299: ("62.115.0.0/16", "2001:2000::/20"),
    2914: ("129.250.0.0/16", "2001:418::/32"),
    3257: ("77.67.0.0/17", "2001:668::/32"),
    3356: ("4.0.0.0/9", "8.0.0.0/9", "2001:1900::/32"),
    6453: ("64.86.0.0/16", "2001:5a0::/32"),
    6461: ("64.124.0.0/15", "2001:438::/32"),
    6762: ("195.22.192.0/19", "2001:41a8::/32"),
    6939: ("216.218.128.0/17", "2001:470::/32"),
    13335: ("1.1.1.0/24", "1.0.0.0/24", "2606:4700::/32"),
    15169: ("8.8.8.0/24", "8.8.4.0/24", "2001:4860::/32"),
    RIPE_NCC: ("193.0.0.0/21", "2001:67c:2e8::/48"),
    K_ROOT: ("193.0.14.0/24", "2001:7fd::/32"),
    RIS_BEACON: ("84.205.64.0/24", "84.205.80.0/24", "2001:7fb:fe00::/48", "2001:7fb:ff00::/48"),
}
RIS_BEACONS = ("84.205.64.0/24", "2001:7fb:fe00::/48")
"""RIPE NCC announces its RIS beacons at 00, 04, 08 ... and withdraws them at 02, 06, 10 ... UTC; AS12654's other
prefixes are anchors, which stay up."""

_TRANSIT_BLOCK, _ACCESS_BLOCK, _STUB_BLOCK = 21 << 24, 28 << 24, 22 << 24
_IPV6_BLOCK = 0x2D00_0000  # the first 32 bits
_HOLES = 0.3  # the share of blocks left unused, so that the table has gaps


@dataclass(frozen=True)
class Announcement:
    """How one AS announces a prefix: how the route spreads, and the attributes it carries."""

    origination: Origination
    origin: int = IGP
    communities: tuple[tuple[int, int], ...] = ()
    large_communities: tuple[tuple[int, int, int], ...] = ()
    atomic_aggregate: bool = False
    aggregator: tuple[int, str] | None = None


Announcements = dict[str, tuple[Announcement, ...]]
"""Prefix -> who announces it; a prefix with multiple origins has several announcements."""


def make_sort_key(prefix: str) -> tuple[int, int, int]:
    """Sorts prefixes as a RIB dump does: IPv4 before IPv6, then by address, then shorter prefixes first."""
    network = ipaddress.ip_network(prefix)
    return network.version, int(network.network_address), network.prefixlen


def plan_addresses(world: Topology, seed: int) -> tuple[Announcements, tuple[str, ...]]:
    """Plan all prefixes announced before anything happens, sorted; also return the beacons among them.

    RIS beacons are in the plan although they are down at first. One fictional AS has a pair of beacons of its own.
    """
    rng = random.Random(f"prefixes-{seed}")
    owners = _assign_real_prefixes() | _allocate_ipv4(world, rng) | _allocate_ipv6(world, rng)
    plan: Announcements = {
        prefix: (Announcement(Origination(asn), _draw_origin_code(asn, rng)),) for prefix, asn in owners.items()
    }
    _add_traffic_engineering(plan, world, rng)
    _add_multiple_origins(plan, world, rng)
    _add_aggregates(plan, world, rng)
    own = (f"22.255.{rng.randrange(256)}.0/24", f"2d00:ffff:{rng.randrange(1, 9999)}::/48")
    for prefix in own:
        plan[prefix] = (Announcement(Origination(world.hosting[3])),)
    return {prefix: plan[prefix] for prefix in sorted(plan, key=make_sort_key)}, (*RIS_BEACONS, *own)


def _assign_real_prefixes() -> dict[str, int]:
    return {prefix: asn for asn, prefixes in REAL_PREFIXES.items() for prefix in prefixes}


def _draw_origin_code(asn: int, rng: random.Random) -> int:
    if asn in CONTENT or rng.random() < 0.8:
        return IGP
    return INCOMPLETE if rng.random() < 0.9 else EGP


def _allocate_ipv4(world: Topology, rng: random.Random) -> dict[str, int]:
    """Each AS gets a block by its role; some more-specifics are announced by the AS itself, some by its customers."""
    owners = {"30.0.0.0/8": world.transit[0]}
    free = {block: block for block in (_TRANSIT_BLOCK, _ACCESS_BLOCK, _STUB_BLOCK)}

    def allocate(asn: int, block: int, length: int) -> int:
        size = 1 << (32 - length)
        address = -(-free[block] // size) * size + size * (rng.random() < _HOLES)
        free[block] = address + size
        owners[_format_ipv4(address, length)] = asn
        return address

    for asn in world.transit:
        length = rng.choice((14, 15, 16))
        block = allocate(asn, _TRANSIT_BLOCK, length)
        for piece in rng.sample(range(1, 16), rng.choice((1, 2, 2))):
            owners[_format_ipv4(block + (piece << (32 - length - 4)), length + 4)] = asn
        for customer in [stub for stub in world.find_customers(asn) if stub in world.stubs][:1]:
            owners[_format_ipv4(block + (rng.randrange(64) << 8), 24)] = customer
    for asn in world.access:
        length = rng.choice((16, 17, 18))
        block = allocate(asn, _ACCESS_BLOCK, length)
        for piece in rng.sample(range(4), rng.choice((1, 2))):
            owners[_format_ipv4(block + (piece << (32 - length - 2)), length + 2)] = asn
    for asn in world.hosting + world.stubs:
        for _ in range(rng.choice((1, 2, 2, 3, 4))):
            allocate(asn, _STUB_BLOCK, rng.choice((19, 20, 20, 21, 22, 22, 23, 24, 24, 24)))
    return owners


def _allocate_ipv6(world: Topology, rng: random.Random) -> dict[str, int]:
    owners = {}
    numbers = iter(sorted(rng.sample(range(0x100, 0xEFFF), 40)))
    for asn in world.transit + world.access + world.hosting:
        first = _IPV6_BLOCK | next(numbers)
        owners[_format_ipv6(first, 0, 32)] = asn
        if rng.random() < 0.3:
            owners[_format_ipv6(first, rng.randrange(1, 16) << 12, 36)] = asn
        for customer in [stub for stub in world.find_customers(asn) if stub in world.stubs][1:2]:
            owners[_format_ipv6(first, rng.randrange(0x100, 0xFFFF), 48)] = customer
    for asn in world.stubs[:10]:
        owners[_format_ipv6(_IPV6_BLOCK | next(numbers), rng.randrange(16) << 12, rng.choice((36, 40, 44, 48)))] = asn
    return owners


def _format_ipv4(address: int, length: int) -> str:
    mask = -1 << (32 - length)
    return f"{ipaddress.IPv4Address(address & mask)}/{length}"


def _format_ipv6(first: int, second: int, length: int) -> str:
    """A prefix of at most 48 bits, given as its first 32 bits and the next 16, cut to `length`."""
    address = (first << 96) | (second << 80)
    return str(ipaddress.IPv6Network((address & (-1 << (128 - length)), length)))


def _add_traffic_engineering(plan: Announcements, world: Topology, rng: random.Random) -> None:
    """About one prefix in six of multihomed fictional ASes is prepended towards a provider or withheld from it; some
    prefixes get a large community."""
    for prefix, (announcement,) in plan.items():
        origination = announcement.origination
        providers = world.find_providers(origination.asn)
        if origination.asn not in world.fictional:
            continue
        if len(providers) > 1 and rng.random() < 0.16:
            backup = rng.choice(providers)
            if rng.random() < 0.6:
                origination = replace(origination, prepends=((backup, rng.choice((1, 2, 3))),))
            else:
                others = tuple(asn for asn in world.neighbours[origination.asn] if asn != backup)
                origination = replace(origination, only_to=others)
        marks = ((origination.asn, 100, rng.randrange(1, 5)),) if rng.random() < 0.3 else ()
        plan[prefix] = (replace(announcement, origination=origination, large_communities=marks),)


def _add_multiple_origins(plan: Announcements, world: Topology, rng: random.Random) -> None:
    """A second AS permanently announces three of the IPv4 prefixes and one of the IPv6 prefixes."""
    own = {prefix: each[0].origination.asn for prefix, each in plan.items()}
    stubs = sorted(prefix for prefix, asn in own.items() if asn in world.stubs)
    of_version = {version: [prefix for prefix in stubs if (":" in prefix) == (version == 6)] for version in (4, 6)}
    for prefix in rng.sample(of_version[4], 3) + rng.sample(of_version[6], 1):
        other = rng.choice([asn for asn in world.stubs if asn != own[prefix]])
        plan[prefix] += (Announcement(Origination(other)),)


def _add_aggregates(plan: Announcements, world: Topology, rng: random.Random) -> None:
    """One access network aggregates the routes of two customers, with AS_SET, ATOMIC_AGGREGATE and AGGREGATOR; some
    other prefixes get AGGREGATOR, and half of these ATOMIC_AGGREGATE (RFC 4271, 5.1.6 and 5.1.7)."""
    candidates = [asn for asn in world.access if len(world.find_customers(asn)) >= 2]
    asn = rng.choice(candidates)
    members = tuple(sorted(rng.sample(world.find_customers(asn), 2)))
    prefix = f"22.{rng.randrange(240, 250)}.{rng.randrange(0, 256, 16)}.0/20"
    router = f"22.254.0.{rng.randrange(1, 255)}"
    plan[prefix] = (Announcement(Origination(asn, as_set=members), atomic_aggregate=True, aggregator=(asn, router)),)
    for prefix in rng.sample(sorted(plan), 10):
        announcement = plan[prefix][0]
        origin = announcement.origination.asn
        if origin in world.fictional and len(plan[prefix]) == 1 and not announcement.origination.as_set:
            router = f"22.254.1.{rng.randrange(1, 255)}"
            atomic = rng.random() < 0.5
            plan[prefix] = (replace(announcement, atomic_aggregate=atomic, aggregator=(origin, router)),)
