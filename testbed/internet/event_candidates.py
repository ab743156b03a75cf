"""Finds candidates for an event: a victim's prefix, another AS, and what the collectors would see of them."""

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from netllama.core.errors import StageError
from testbed.internet.bgp import PathAttributes, make_as_path
from testbed.internet.changes import START, Change
from testbed.internet.routing import NO_PREPENDS, Link, Origination, RouteLeak
from testbed.internet.simulation import World
from testbed.internet.truth import PlannedEvent, get_path

ATTEMPTS = 400
SeenPath = tuple[tuple[int, ...], int]
"""An AS path as a collector would see it, the peer first, and the index of the origination it leads to."""


@dataclass
class Reservations:
    """What the events of a scenario use: planners add to it, and ordinary churn leaves it alone."""

    prefixes: set[str] = field(default_factory=set)
    ases: set[int] = field(default_factory=set)
    """ASes whose links do not fail."""


EventPlan = tuple[list[Change], list[PlannedEvent]]
Planner = Callable[[World, random.Random, Reservations], EventPlan]
"""Plans the events of one kind, and reserves what they use. A scenario is a list of planners."""


def draw_start(rng: random.Random) -> float:
    """A time within the first five minutes, so that a short look at the archive shows the event."""
    return START + rng.uniform(60, 200)


def build_error(kind: str, world: World) -> StageError:
    return StageError(f"seed {world.seed}: the collectors would not see any {kind}; choose another seed")


def get_ip_version(prefix: str) -> int:
    return 6 if ":" in prefix else 4


def get_origin(world: World, prefix: str) -> int:
    """The AS that announces the prefix; if there are several, the first."""
    return world.plan[prefix][0].origination.asn


def list_free_prefixes(world: World, reserved: Reservations, version: int) -> list[str]:
    """Unreserved prefixes of fictional ASes with one origin and no routing policy of their own."""
    return [
        prefix
        for prefix, each in world.plan.items()
        if get_ip_version(prefix) == version
        and prefix not in reserved.prefixes
        and prefix not in world.beacons
        and len(each) == 1
        and each[0].origination == Origination(each[0].origination.asn)
        and each[0].origination.asn in world.topology.fictional
    ]


def draw_victim(world: World, rng: random.Random, reserved: Reservations, version: int) -> tuple[str, int]:
    """A free prefix and its origin."""
    prefix = rng.choice(list_free_prefixes(world, reserved, version))
    return prefix, get_origin(world, prefix)


def draw_stranger(world: World, rng: random.Random, asn: int) -> int:
    """A fictional AS at the edge that has no link to `asn`."""
    net = world.topology
    return rng.choice([other for other in net.stubs + net.access if other != asn and other not in net.neighbours[asn]])


def find_feed_paths(
    world: World,
    version: int,
    originations: tuple[Origination, ...],
    leak: RouteLeak | None = None,
    prepends: Mapping[Link, int] = NO_PREPENDS,
) -> list[SeenPath]:
    """The paths that the full feeds of an IP version would announce; feeds without a route are left out."""
    routes = world.cache.find_outcome(originations, prepends=prepends, leak=leak).routes
    ases = [feed.asn for feed in world.feeds if feed.ip_version == version and feed.full]
    return [((asn, *routes[asn].path), routes[asn].origination) for asn in ases if asn in routes]


def count_link_uses(world: World) -> Counter[Link]:
    """Link (exporting AS, importing AS) -> how many routes of the tables came over it."""
    return Counter(
        (told, heard)
        for table in world.tables
        for attributes in table.values()
        for heard, told in set(pairwise(get_path(attributes)))
        if heard != told
    )


def wrap_path(path: tuple[int, ...]) -> PathAttributes:
    """Attributes with nothing but a path, for conditions that take attributes."""
    return PathAttributes(make_as_path(*path), "")


def is_seen_by_share(world: World, prefix: str, other: int, shares: tuple[float, float]) -> bool:
    """Whether the share of full feeds that would choose `other`, were it a second origin, lies within `shares`."""
    both = world.plan[prefix][0].origination, Origination(other)
    seen = find_feed_paths(world, get_ip_version(prefix), both)
    return shares[0] <= sum(index for _, index in seen) / len(seen) <= shares[1]
