"""Builds the route collectors: who feeds them, and with which attributes a feed announces a route.

The peers resemble the real collectors' peers in number and kind only; their addresses are fictional.
"""

import random
import zlib
from dataclasses import dataclass

from testbed.internet.bgp import AS_SET, PathAttributes, make_as_path
from testbed.internet.mrt_writer import BgpSession
from testbed.internet.prefixes import Announcement
from testbed.internet.routing import Route
from testbed.internet.topology import CUSTOMER, RIPE_NCC, Topology

WELL_KNOWN = 65535  # first half of well-known communities (RFC 1997, RFC 7999)
_HIGHEST_16_BIT = 65535


@dataclass(frozen=True)
class Collector:
    name: str
    project: str
    asn: int
    address: str
    """IPv4 address; also the BGP identifier."""
    address6: str

    @property
    def is_ris(self) -> bool:
        """RIS records whole seconds and the peers' state changes; RouteViews records microseconds, but no states."""
        return self.project == "ris"


COLLECTORS = (
    Collector("rrc00", "ris", 12654, "28.255.0.254", "2d00:ff00:0:1::254"),
    Collector("rrc04", "ris", 12654, "28.255.4.254", "2d00:ff00:4:1::254"),
    Collector("route-views.sg", "routeviews", 6447, "28.255.65.254", "2d00:ff00:65:1::254"),
    Collector("route-views2", "routeviews", 6447, "28.255.2.254", "2d00:ff00:2:1::254"),
)


@dataclass(frozen=True)
class Feed:
    """A collector's session with a peer; it carries only prefixes of `ip_version` (4 or 6)."""

    collector: Collector
    session: BgpSession
    ip_version: int
    full: bool = True
    """False: the peer sends only its own and its customers' routes, as it would to a BGP peer."""
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
    """All sessions, in the order of the collectors and of their peer tables. All addresses are unique."""
    rng = random.Random(f"collectors-{seed}")
    transit, access = rng.sample(world.transit, 10), rng.sample(world.access, 5)
    multihomed = [asn for asn in world.stubs if len(world.find_providers(asn)) > 1]
    stubs = rng.sample(multihomed, 2)
    # By collector: AS numbers and the IP versions of their sessions; the first transit AS has two IPv4 to rrc00
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
    """The attributes with which `feed` announces the route that its AS chose; None: a partial feed does not export it.

    `med` overrides the metric that the peer would send by default.
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
    """Communities and large communities: the origin's own, less and plus what the ASes on the path remove and add.

    A tagging AS adds the kind of neighbour that it learned the route from (100 customer, 200 peer, 300 provider), and
    the place (2000 to 2019). An AS with a number of more than 16 bits uses large communities (RFC 8092).
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
    """A number that looks random and is the same on every machine."""
    return zlib.crc32("-".join(map(str, what)).encode())
