"""Originations of a prefix into the route that each AS chooses (Gao and Rexford, IEEE/ACM ToN 9(6), 2001).

An AS prefers routes of customers to those of peers to those of providers, then the shorter AS path, then the lower
neighbour AS number. It tells everything to its customers, and only its own and its customers' routes to peers and
providers (valley-free). A route never gets better on its way under this order, so that choosing the best offer first,
as Dijkstra's algorithm does, gives the state in which BGP comes to rest.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from testbed.internet.topology import CUSTOMER, PROVIDER, Neighbours

OWN = -1
Link = tuple[int, int]
"""(AS that tells, AS that hears): a direction of a link."""
NO_PREPENDS: Mapping[Link, int] = {}


@dataclass(frozen=True)
class Origination:
    """One AS announces a prefix. All fields but `asn` deviate from telling every neighbour the plain path."""

    asn: int
    prepends: tuple[Link, ...] = ()
    """(neighbour, how many more times its own number stands in the path told to it)."""
    only_to: tuple[int, ...] | None = None
    scope: int | None = None
    """How many ASes the route may pass on its way: 1 is what NO_EXPORT does at the neighbour (RFC 1997)."""
    as_set: tuple[int, ...] = ()
    """Numbers of an AS_SET behind its own: it aggregates these ASes' routes (RFC 4271, 9.2.2.2)."""


class RouteLeak(NamedTuple):
    """`leaker` tells `target`, a provider or peer, routes that it learned from other providers or peers (RFC 7908)."""

    leaker: int
    target: int


class Route(NamedTuple):
    """What an AS chose: from what kind of neighbour, path length, the path without itself, and whose origination."""

    relation: int
    length: int
    path: tuple[int, ...]
    hops: int
    origination: int


Routes = dict[int, Route]
_Offer = tuple[int, int, int, int, tuple[int, ...], int, int]
"""relation, length, neighbour (the three that rank), AS that hears it, path, hops, origination."""


def find_best_routes(
    neighbours: Neighbours,
    originations: tuple[Origination, ...],
    down: frozenset[Link] = frozenset(),
    prepends: Mapping[Link, int] = NO_PREPENDS,
    leak: RouteLeak | None = None,
) -> Routes:
    """AS number -> its route; an AS that hears of none is missing.

    `down`: directions over which nothing is told. `prepends`: how many more times an AS puts its number into routes of
    others that it passes on. A leak changes nothing on the leaked path itself, whose ASes find their own number in it:
    so it is the leaker's route without the leak that its target hears.
    """
    offers: list[_Offer] = [(OWN, 0, 0, each.asn, (), 0, index) for index, each in enumerate(originations)]
    routes = _choose_routes(neighbours, originations, offers, down, prepends)
    if leak is None or leak in down or (route := routes.get(leak.leaker)) is None:
        return routes
    if route.relation <= CUSTOMER or route.hops == originations[route.origination].scope:
        return routes
    leaked = (leak.leaker, *route.path)
    relation = PROVIDER - neighbours[leak.leaker][leak.target]
    offers.append((relation, route.length + 1, leak.leaker, leak.target, leaked, route.hops + 1, route.origination))
    return _choose_routes(neighbours, originations, offers, down, prepends)


def _choose_routes(
    neighbours: Neighbours,
    originations: tuple[Origination, ...],
    offers: list[_Offer],
    down: frozenset[Link],
    prepends: Mapping[Link, int],
) -> Routes:
    heap = sorted(offers)
    routes: Routes = {}
    while heap:
        relation, length, _, asn, path, hops, index = heapq.heappop(heap)
        origination = originations[index]
        if asn in routes or asn in path or asn in origination.as_set:
            continue
        routes[asn] = Route(relation, length, path, hops, index)
        if hops == origination.scope:
            continue
        to_all = relation <= CUSTOMER
        for neighbour, kind in neighbours[asn].items():
            if neighbour in routes or not (to_all or kind == CUSTOMER) or (asn, neighbour) in down:
                continue
            if relation == OWN:
                if origination.only_to is not None and neighbour not in origination.only_to:
                    continue
                copies = 1 + dict(origination.prepends).get(neighbour, 0)
            else:
                copies = 1 + prepends.get((asn, neighbour), 0)
            offer = (PROVIDER - kind, length + copies, asn, neighbour, (asn,) * copies + path, hops + 1, index)
            heapq.heappush(heap, offer)
    return routes


@dataclass(frozen=True, eq=False)
class RoutingOutcome:
    """The routes of one set of originations, and every direction of a link that one of them uses first."""

    routes: Routes
    links: frozenset[Link]


class RouteCache:
    """Outcomes by what they depend on: a link that no chosen route uses may fail without any change."""

    def __init__(self, neighbours: Neighbours) -> None:
        self._neighbours = neighbours
        self._outcomes: dict[object, RoutingOutcome] = {}

    def find_outcome(
        self,
        originations: tuple[Origination, ...],
        down: frozenset[Link] = frozenset(),
        prepends: Mapping[Link, int] = NO_PREPENDS,
        leak: RouteLeak | None = None,
    ) -> RoutingOutcome:
        """As `best_routes`; the outcome is the same object as before where only unused links changed."""
        touched, matter = down.union(prepends), frozenset[Link]()
        while True:
            failed = down & matter
            longer = tuple((link, prepends[link]) for link in sorted(matter) if link in prepends)
            key = originations, failed, longer, leak
            outcome = self._outcomes.get(key)
            if outcome is None:
                routes = find_best_routes(self._neighbours, originations, failed, dict(longer), leak)
                links = frozenset((route.path[0], asn) for asn, route in routes.items() if route.path)
                outcome = self._outcomes[key] = RoutingOutcome(routes, links)
            used = (touched & outcome.links) - matter
            if not used:
                return outcome
            matter |= used
