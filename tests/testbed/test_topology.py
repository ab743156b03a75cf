"""The small Internet: who is in it, and its routes, compared with BGP simulated step by step until it converges."""

import ipaddress
import random
from itertools import pairwise

import pytest

from testbed.internet.changes import START
from testbed.internet.prefixes import REAL_PREFIXES, make_sort_key, plan_addresses
from testbed.internet.routing import Link, Origination, RouteCache, RouteLeak, find_best_routes
from testbed.internet.simulation import build_world
from testbed.internet.topology import CUSTOMER, PEER, PROVIDER, REAL, TIER1, Neighbours, build_topology

Chosen = dict[int, tuple[tuple[int, ...], int, int]]
"""AS -> (path with the AS itself in front, ASes travelled, index of the origination)."""
FICTIONAL = [ipaddress.ip_network(f"{first}.0.0.0/8") for first in (21, 22, 28, 29, 30)]
RESERVED = ipaddress.ip_network("2d00::/8")


def simulate_bgp(
    neighbours: Neighbours,
    originations: tuple[Origination, ...],
    down: frozenset[Link] = frozenset(),
    prepends: dict[Link, int] | None = None,
    leak: RouteLeak | None = None,
    chosen: Chosen | None = None,
    order: random.Random | None = None,
) -> Chosen:
    """Simulate BGP: the ASes look in turn at what their neighbours announce, until a whole round changes nothing."""
    prepends, chosen = prepends or {}, dict(chosen or {})
    ases = list(neighbours)
    for _ in range(100):
        (order or random.Random(0)).shuffle(ases)
        before = dict(chosen)
        for asn in ases:
            offers = []
            for index, own in enumerate(originations):
                if own.asn == asn:
                    offers.append(((-1, 0, 0), (asn,), 0, index))
            for other, relation in neighbours[asn].items():
                if other not in chosen or (other, asn) in down:
                    continue
                path, hops, index = chosen[other]
                own = originations[index]
                if hops == 0:
                    if own.only_to is not None and asn not in own.only_to:
                        continue
                    told = path * (1 + dict(own.prepends).get(asn, 0))
                else:
                    downhill = relation == PROVIDER or neighbours[other][get_second_as(path)] == CUSTOMER
                    if not downhill and (leak is None or (other, asn) != tuple(leak)):
                        continue
                    told = (other,) * (prepends.get((other, asn), 0) if downhill else 0) + path
                if asn in told or asn in own.as_set or (own.scope is not None and hops >= own.scope):
                    continue
                offers.append(((relation, len(told), other), (asn, *told), hops + 1, index))
            if offers:
                _, *choice = min(offers)
                chosen[asn] = (choice[0], choice[1], choice[2])  # type: ignore[assignment]
            else:
                chosen.pop(asn, None)
        if chosen == before:
            return chosen
    raise AssertionError("BGP did not converge")


def get_second_as(path: tuple[int, ...]) -> int:
    """The AS from which the first AS of a path learned the route."""
    return next(asn for asn in path if asn != path[0])


def draw_internet(rng: random.Random) -> Neighbours:
    """6 to 11 ASes. Providers have lower numbers than their customers, so no AS is its own provider's provider."""
    ases = range(1, rng.randrange(7, 13))
    neighbours: Neighbours = {asn: {} for asn in ases}
    for asn in ases:
        for other in range(1, asn):
            draw = rng.random()
            if draw < 0.3:
                neighbours[asn][other], neighbours[other][asn] = PROVIDER, CUSTOMER
            elif draw < 0.5:
                neighbours[asn][other] = neighbours[other][asn] = PEER
    return neighbours


def draw_originations(neighbours: Neighbours, rng: random.Random) -> tuple[Origination, ...]:
    originations = []
    for asn in rng.sample(sorted(neighbours), rng.choice((1, 1, 2))):
        others = sorted(neighbours[asn])
        strangers = [one for one in neighbours if one != asn]
        originations.append(
            Origination(
                asn,
                prepends=tuple((other, rng.randrange(1, 4)) for other in others if rng.random() < 0.3),
                only_to=tuple(other for other in others if rng.random() < 0.7) if rng.random() < 0.3 else None,
                scope=rng.choice((None, None, 1, 2, 3)),
                as_set=(rng.choice(strangers),) if rng.random() < 0.2 else (),
            )
        )
    return tuple(originations)


def draw_links(neighbours: Neighbours, rng: random.Random, share: float) -> list[Link]:
    return [(a, b) for a in neighbours for b in neighbours[a] if rng.random() < share]


def compute_chosen(neighbours: Neighbours, originations: tuple[Origination, ...], **options: object) -> Chosen:
    routes = find_best_routes(neighbours, originations, **options)  # type: ignore[arg-type]
    return {asn: ((asn, *route.path), route.hops, route.origination) for asn, route in routes.items()}


def test_routes_are_those_to_which_simulated_bgp_converges() -> None:
    for case in range(400):
        rng = random.Random(f"routes-{case}")
        neighbours = draw_internet(rng)
        originations = draw_originations(neighbours, rng)
        down = frozenset(draw_links(neighbours, rng, 0.1))
        prepends = {link: rng.randrange(1, 4) for link in draw_links(neighbours, rng, 0.1)}
        expected = simulate_bgp(neighbours, originations, down, prepends, order=rng)
        assert compute_chosen(neighbours, originations, down=down, prepends=prepends) == expected, case


def test_a_leak_spreads_as_in_simulated_bgp_that_had_converged_before() -> None:
    leaked = 0
    for case in range(600):
        rng = random.Random(f"leak-{case}")
        neighbours = draw_internet(rng)
        originations = draw_originations(neighbours, rng)
        upward = [(a, b) for a in neighbours for b, kind in neighbours[a].items() if kind != CUSTOMER]
        if not upward:
            continue
        leak = RouteLeak(*rng.choice(upward))
        rest = simulate_bgp(neighbours, originations)
        expected = simulate_bgp(neighbours, originations, leak=leak, chosen=rest, order=rng)
        assert compute_chosen(neighbours, originations, leak=leak) == expected, case
        leaked += expected != rest
    assert leaked > 50, "too few cases in which the leak has an effect"


def test_remembered_outcomes_are_the_current_routes() -> None:
    for case in range(60):
        rng = random.Random(f"cache-{case}")
        neighbours = draw_internet(rng)
        originations, cache = draw_originations(neighbours, rng), RouteCache(neighbours)
        for _ in range(12):
            down = frozenset(draw_links(neighbours, rng, rng.choice((0, 0.1, 0.3))))
            prepends = {link: rng.randrange(1, 4) for link in draw_links(neighbours, rng, 0.1)}
            expected = find_best_routes(neighbours, originations, down, prepends)
            assert cache.find_outcome(originations, down, prepends).routes == expected
            if not prepends and not cache.find_outcome(originations).links & down:
                assert cache.find_outcome(originations, down) is cache.find_outcome(originations)


def test_paths_go_up_then_at_most_once_across_then_down() -> None:
    net = build_topology(3)
    for origin in net.stubs + net.transit:
        for asn, route in find_best_routes(net.neighbours, (Origination(origin),)).items():
            path = (asn, *route.path)
            steps = [net.neighbours[a][b] for a, b in pairwise(reversed(path))]
            assert steps == sorted(steps, reverse=True), path
            assert steps.count(PEER) <= 1, path


@pytest.mark.parametrize("seed", range(5))
def test_everybody_reaches_everybody(seed: int) -> None:
    net = build_topology(seed)
    assert 60 <= len(net.neighbours) <= 80
    for origin in net.neighbours:
        assert find_best_routes(net.neighbours, (Origination(origin),)).keys() == net.neighbours.keys()


@pytest.mark.parametrize("seed", range(5))
def test_relations_agree_from_both_ends_and_tier_1_buys_from_nobody(seed: int) -> None:
    net = build_topology(seed)
    for asn, others in net.neighbours.items():
        assert asn not in others
        for other, relation in others.items():
            assert net.neighbours[other][asn] == {CUSTOMER: PROVIDER, PEER: PEER, PROVIDER: CUSTOMER}[relation]
    assert all(not net.find_providers(asn) for asn in TIER1)
    assert len(net.list_relationships()) == sum(map(len, net.neighbours.values())) / 2
    assert all(420_000 <= asn < 430_000 for asn in set(net.neighbours) - set(REAL))
    assert set(net.fictional) == set(net.neighbours) - set(REAL)


@pytest.mark.parametrize("seed", range(5))
def test_real_prefixes_are_announced_by_their_holders_and_all_others_are_from_unrouted_space(seed: int) -> None:
    net = build_topology(seed)
    plan, beacons = plan_addresses(net, seed)
    real = {prefix: asn for asn, prefixes in REAL_PREFIXES.items() for prefix in prefixes}
    for prefix, announcements in plan.items():
        origins = [each.origination.asn for each in announcements]
        assert len(origins) == len(set(origins))
        if prefix in real:
            assert origins == [real[prefix]]
            continue
        network = ipaddress.ip_network(prefix)
        space = FICTIONAL if network.version == 4 else [RESERVED]
        assert any(network.subnet_of(block) for block in space), prefix  # type: ignore[arg-type]
        assert set(origins) <= set(net.fictional)
    lengths = {version: [p for p in plan if (":" in p) == (version == 6)] for version in (4, 6)}
    assert 150 <= len(lengths[4]) <= 250
    assert 50 <= len(lengths[6]) <= 90
    assert list(plan) == sorted(plan, key=make_sort_key)
    assert set(beacons) <= set(plan)
    assert sum(len(each) > 1 for each in plan.values()) == 4
    assert sum(bool(each[0].origination.as_set) for each in plan.values()) == 1


@pytest.mark.parametrize("seed", range(5))
def test_collectors_have_their_own_peers_with_unique_addresses(seed: int) -> None:
    feeds = build_world(seed).feeds
    assert len({feed.address for feed in feeds}) == len(feeds)
    assert sum(not feed.full for feed in feeds) == 1
    for name in ("rrc00", "rrc04", "route-views.sg", "route-views2"):
        ases = [feed.asn for feed in feeds if feed.collector.name == name and feed.ip_version == 4]
        assert 4 <= len(set(ases)) <= 6
        assert any(feed.ip_version == 6 for feed in feeds if feed.collector.name == name)
    twice = [feed.asn for feed in feeds if feed.collector.name == "rrc00" and feed.ip_version == 4]
    assert len(twice) == len(set(twice)) + 1
    assert START == 1709625600
