"""Builds a small Internet from a seed: who buys transit from whom, who peers, and how each AS treats communities.

The AS numbers of real carriers, content and measurement networks (AS3356, AS15169, AS3333 ...) stand for well-behaved
networks in the core; their links here are invented. All other ASes are fictional, with AS numbers from 420000 to
429999, which IANA has not assigned; attackers and victims are always fictional.

The relationships follow L. Gao, "On Inferring Autonomous System Relationships in the Internet" (IEEE/ACM ToN 9(6),
2001): a provider sells transit to its customer, and peers exchange their customers' routes.
"""

import random
from dataclasses import dataclass

CUSTOMER, PEER, PROVIDER = 0, 1, 2
"""What a neighbour is to an AS. If the neighbour is `x` to the AS, the AS is `PROVIDER - x` to the neighbour."""

TIER1 = (174, 1299, 2914, 3257, 3356, 6453, 6461, 6762)
BIG_PEER = 6939
CONTENT = (13335, 15169)
RIPE_NCC, K_ROOT, RIS_BEACON = 3333, 25152, 12654
REAL = (*TIER1, BIG_PEER, *CONTENT, RIPE_NCC, K_ROOT, RIS_BEACON)

Neighbours = dict[int, dict[int, int]]
"""AS number -> neighbour -> CUSTOMER, PEER or PROVIDER (what the neighbour is to the AS)."""


@dataclass(frozen=True, eq=False)
class Topology:
    """The ASes by role, and their links. 16 transit, 9 access, 4 hosting and 30 stub ASes are fictional."""

    neighbours: Neighbours
    transit: tuple[int, ...]
    access: tuple[int, ...]
    hosting: tuple[int, ...]
    stubs: tuple[int, ...]
    tags: frozenset[int]
    """ASes that tag the routes they learn with their own communities."""
    strips: frozenset[int]
    """ASes that remove other ASes' communities, except well-known ones (65535:x)."""

    @property
    def fictional(self) -> tuple[int, ...]:
        return self.transit + self.access + self.hosting + self.stubs

    def find_providers(self, asn: int) -> list[int]:
        return self._find_neighbours(asn, PROVIDER)

    def find_customers(self, asn: int) -> list[int]:
        return self._find_neighbours(asn, CUSTOMER)

    def _find_neighbours(self, asn: int, relation: int) -> list[int]:
        return sorted(other for other, kind in self.neighbours[asn].items() if kind == relation)

    def list_relationships(self) -> list[tuple[int, int, str]]:
        """Each link once, sorted: (provider, customer, "p2c") or (lower AS, higher AS, "p2p")."""
        links = []
        for asn, others in self.neighbours.items():
            for other, relation in others.items():
                if relation == CUSTOMER:
                    links.append((asn, other, "p2c"))
                elif relation == PEER and asn < other:
                    links.append((asn, other, "p2p"))
        return sorted(links)


def build_topology(seed: int) -> Topology:
    """73 ASes: a clique of eight at the top, transit networks below it, access networks below those, and stubs."""
    rng = random.Random(f"topology-{seed}")
    numbers = rng.sample(range(420_000, 430_000), 59)
    transit, access = tuple(numbers[:16]), tuple(numbers[16:25])
    hosting, stubs = tuple(numbers[25:29]), tuple(numbers[29:])
    neighbours: Neighbours = {asn: {} for asn in (*REAL, *numbers)}

    _connect_core(neighbours, transit, rng)
    for place, asn in enumerate(transit):
        _add_providers(neighbours, asn, rng.sample((*TIER1, BIG_PEER), rng.choice((1, 2, 2, 3))))
        _add_peers(neighbours, asn, rng.sample(transit[:place], min(place, rng.choice((0, 1, 1, 2)))))
    for asn in access:
        _add_providers(
            neighbours, asn, [*rng.sample(transit, 2), *rng.sample((3356, 174, 1299), rng.choice((0, 0, 1)))]
        )
    for asn in hosting:
        _add_providers(neighbours, asn, rng.sample((*TIER1, *transit), 2))
        _add_peers(neighbours, asn, [BIG_PEER, *rng.sample(transit, 4), *rng.sample(access, 2)])
    for asn in stubs:
        _add_providers(neighbours, asn, rng.sample((*transit, *access, *access), rng.choice((1, 2, 2, 2, 3))))
    _connect_exchange_point(neighbours, rng.sample(transit, 4) + rng.sample(access, 3) + [hosting[0], BIG_PEER])
    return Topology(
        neighbours={asn: dict(sorted(others.items())) for asn, others in sorted(neighbours.items())},
        transit=transit,
        access=access,
        hosting=hosting,
        stubs=stubs,
        tags=frozenset((*TIER1, BIG_PEER, *rng.sample(transit, 8))),
        strips=frozenset((6461, *rng.sample(transit, 3), *rng.sample(access, 3))),
    )


def _connect_core(neighbours: Neighbours, transit: tuple[int, ...], rng: random.Random) -> None:
    for place, asn in enumerate(TIER1):
        _add_peers(neighbours, asn, TIER1[:place])
    _add_providers(neighbours, BIG_PEER, [1299])
    _add_peers(neighbours, BIG_PEER, [asn for asn in TIER1 if asn not in (174, 1299)])
    for asn in CONTENT:
        _add_peers(neighbours, asn, [*TIER1, BIG_PEER, *CONTENT, *rng.sample(transit, 8)])
    _add_providers(neighbours, RIPE_NCC, [1299, 3257, rng.choice(transit)])
    _add_providers(neighbours, K_ROOT, [BIG_PEER, *rng.sample(transit, 2)])
    _add_providers(neighbours, RIS_BEACON, [RIPE_NCC, 3356])


def _connect_exchange_point(neighbours: Neighbours, members: list[int]) -> None:
    """Peer all members with each other, as a route server does, except those linked already."""
    for place, asn in enumerate(members):
        _add_peers(neighbours, asn, members[:place])


def _add_providers(neighbours: Neighbours, customer: int, providers: list[int]) -> None:
    for provider in providers:
        if provider not in neighbours[customer]:
            neighbours[customer][provider] = PROVIDER
            neighbours[provider][customer] = CUSTOMER


def _add_peers(neighbours: Neighbours, asn: int, others: list[int] | tuple[int, ...]) -> None:
    for other in others:
        if other != asn and other not in neighbours[asn]:
            neighbours[asn][other] = neighbours[other][asn] = PEER
