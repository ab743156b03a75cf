"""A topology and a seed into route collectors: who feeds them, and the attributes of a route as a feed announces it.

The peers stand in for the real collectors' peers in number and kind only; the addresses are fictional.
"""

import random
import zlib
from dataclasses import dataclass

from testbed.internet.bgp import AS_SET, PathAttributes, make_as_path
from testbed.internet.mrt_writer import BgpSession
from testbed.internet.prefixes import Announcement
from testbed.internet.routing import Route
from testbed.internet.topology import CUSTOMER, RIPE_NCC, Topology

WELL_KNOWN = 65535  # the first half of well-known communities (RFC 1997, RFC 7999)
_HIGHEST_16_BIT = 65535


@dataclass(frozen=True)
class Collector:
    name: str
    project: str
    asn: int
    address: str
    """IPv4, also its BGP identifier."""
    address6: str

    @property
    def is_ris(self) -> bool:
        """RIS writes whole seconds and peers' state changes; RouteViews writes microseconds and no states."""
        return self.project == "ris"


COLLECTORS = (
    Collector("rrc00", "ris", 12654, "28.255.0.254", "2d00:ff00:0:1::254"),
    Collector("rrc04", "ris", 12654, "28.255.4.254", "2d00:ff00:4:1::254"),
    Collector("route-views.sg", "routeviews", 6447, "28.255.65.254", "2d00:ff00:65:1::254"),
    Collector("route-views2", "routeviews", 6447, "28.255.2.254", "2d00:ff00:2:1::254"),
)


@dataclass(frozen=True)
class Feed:
    """A session of a collector with a peer; only prefixes of `ip_version` (4 or 6) go over it."""

    collector: Collector
    session: BgpSession
    ip_version: int
    full: bool = True
    """False: own and customers' routes only, what a peer would be told."""
    sends_med: bool = False

    @property
    def asn(self) -> int:
        return self.session.peer_asn

    @property
    def address(self) -> str:
        return self.session.peer_address

    def carries_prefix(self, prefix: str) -> bool:
        return (":" in prefix) == (self.ip_version == 6)


def build_feeds(world: Topology, seed: int) -> tuple[Feed, ...]:
    """All sessions, in the order of the collectors and of their peer tables. Addresses are unique."""
    rng = random.Random(f"collectors-{seed}")
    transit, access = rng.sample(world.transit, 10), rng.sample(world.access, 5)
    multihomed = [asn for asn in world.stubs if len(world.find_providers(asn)) > 1]
    stubs = rng.sample(multihomed, 2)
    # AS numbers by collector, each with the IP versions of its sessions; the first transit AS has two to rrc00
    peers: tuple[list[tuple[int, str]], ...] = (
        [(1299, "46"), (RIPE_NCC, "4"), (transit[0], "446"), (transit[1], "46"), (access[0], "4")],
        [(2914, "4"), (transit[2], "46"), (transit[3], "4"), (access[1], "46"), (transit[8], "4")],
        [(6939, "46"), (transit[4], "4"), (transit[5], "46"), (access[2], "4"), (stubs[0], "4")],
        [(3356, "46"), (6453, "4"), (transit[6], "46"), (transit[7], "4"), (access[3], "46"), (stubs[1], "4")],
    )
    result = []
    for collector, members in zip(COLLECTORS, peers, strict=True):
        hosts = iter(sorted(rng.sample(range(1, 250), 12)))
        for asn, versions in members:
            for version in versions:
                result.append(_build_feed(collector, asn, int(version), next(hosts), asn != transit[8], rng))
    return tuple(result)


def _build_feed(collector: Collector, asn: int, version: int, host: int, full: bool, rng: random.Random) -> Feed:
    local = collector.address if version == 4 else collector.address6
    remote = local.removesuffix("254") + str(host)
    return Feed(collector, BgpSession(asn, remote, collector.asn, local), version, full, rng.random() < 0.6)


def export_route(
    world: Topology, feed: Feed, announcement: Announcement, route: Route, med: int | None
) -> PathAttributes | None:
    """What `feed` tells its collector of the route its AS chose; None where a partial feed keeps it to itself.

    `med` overrides the metric that the peer would send by itself.
    """
    if not feed.full and route.relation > CUSTOMER:
        return None
    path = (feed.asn, *route.path)
    as_set = announcement.origination.as_set
    communities, large = _collect_communities(world, announcement, path)
    if med is None and feed.sends_med:
        med = _draw_number(feed.address, path[1] if len(path) > 1 else 0) % 40 * 5
    return PathAttributes(
        as_path=make_as_path(*path) + (((AS_SET, as_set),) if as_set else ()),
        next_hop=feed.address,
        origin=announcement.origin,
        med=med,
        atomic_aggregate=announcement.atomic_aggregate,
        aggregator=announcement.aggregator,
        communities=communities,
        large_communities=large,
    )


def _collect_communities(
    world: Topology, announcement: Announcement, path: tuple[int, ...]
) -> tuple[tuple[tuple[int, int], ...], tuple[tuple[int, int, int], ...]]:
    """What the origin attached and the ASes on the way added or removed.

    An AS that tags says what it learned the route from, a customer (100), a peer (200) or a provider (300), and where
    (2000 to 2019); one with a number of more than 16 bits says so in large communities (RFC 8092).
    """
    plain, large = set(announcement.communities), set(announcement.large_communities)
    ases = list(dict.fromkeys(path))  # prepending counts once
    for asn, previous in zip(ases[-2::-1], ases[:0:-1], strict=True):
        if asn in world.strips:
            plain = {community for community in plain if community[0] == WELL_KNOWN}
            large = set()
        if asn not in world.tags:
            continue
        relation, place = world.neighbours[asn][previous], _draw_number(asn, previous) % 20
        if asn <= _HIGHEST_16_BIT:
            plain |= {(asn, 100 * (relation + 1)), (asn, 2000 + place)}
        else:
            large |= {(asn, 1, relation + 1), (asn, 2, place)}
    return tuple(sorted(plain)), tuple(sorted(large))


def _draw_number(*what: object) -> int:
    """A number that looks drawn at random and is the same everywhere."""
    return zlib.crc32("-".join(map(str, what)).encode())
