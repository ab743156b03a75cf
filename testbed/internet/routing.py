"""Computes the route to a prefix that each AS chooses (Gao and Rexford, IEEE/ACM ToN 9(6), 2001).

An AS prefers routes from customers to routes from peers, and both to routes from providers; then the shorter AS path;
then the lower neighbour AS number. It exports all routes to its customers, but only its own and its customers' routes
to peers and providers (valley-free). Under these rules a route never gets better as it spreads. Taking the best offer
first, as Dijkstra's algorithm does, therefore gives the state to which BGP converges.
"""

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from testbed.internet.topology import CUSTOMER, PROVIDER, Neighbours

OWN = -1
Link = tuple[int, int]
"""One direction of a link: (AS that exports, AS that imports)."""
NO_PREPENDS: Mapping[Link, int] = {}


@dataclass(frozen=True)
class Origination:
    """How one AS originates a prefix. By default it announces the plain path to every neighbour."""

    asn: int
    prepends: tuple[Link, ...] = ()
    """(neighbour, how many extra copies of its own AS number the path announced to that neighbour has)."""
    only_to: tuple[int, ...] | None = None
    """The neighbours it announces the prefix to; None: all."""
    scope: int | None = None
    """How many ASes the route may travel: 1 has the effect of NO_EXPORT at the neighbour (RFC 1997). None: no limit."""
    as_set: tuple[int, ...] = ()
    """The AS_SET at the end of the path: the ASes whose routes it aggregates (RFC 4271, 9.2.2.2)."""


class RouteLeak(NamedTuple):
    """`leaker` exports routes from providers or peers to `target`, another provider or peer (RFC 7908)."""

    leaker: int
    target: int


class Route(NamedTuple):
    """The route that an AS chose."""

    relation: int
    """What the neighbour it came from is to the AS; OWN for the origin."""
    length: int
    """Length of `path`, prepending included."""
    path: tuple[int, ...]
    """AS path without the AS itself."""
    hops: int
    """How many ASes the route has travelled."""
    origination: int
    """Index of the origination that the route leads to."""


Routes = dict[int, Route]
_Offer = tuple[int, int, int, int, tuple[int, ...], int, int]
"""(relation, length, neighbour: these three rank the offers; AS it is offered to, path, hops, origination)."""


def find_best_routes(
    neighbours: Neighbours,
    originations: tuple[Origination, ...],
    down: frozenset[Link] = frozenset(),
    prepends: Mapping[Link, int] = NO_PREPENDS,
    leak: RouteLeak | None = None,
) -> Routes:
    """AS number -> the route it chooses; ASes without a route are missing.

    `down`: directions over which no route is exported. `prepends`: how many extra copies of its AS number an AS adds
    to other ASes' routes that it exports over a link. The ASes on the leaked path ignore the leaked route, because
    they find their own number in it. So the leak cannot change the leaker's own route, and its target gets the route
    that the leaker chooses without the leak.
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
    """The routes of one set of originations, and the links (by direction) over which ASes received their routes."""

    routes: Routes
    links: frozenset[Link]


class RouteCache:
    """Remembers outcomes by the links that matter: a link that no chosen route uses can fail without effect."""

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
        """As `find_best_routes`. If only unused links have changed, this returns the same object as before."""
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
