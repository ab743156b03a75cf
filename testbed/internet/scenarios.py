"""The name of a scenario and a seed -> an hour of a small Internet, recorded, with its ground truth."""

import random
from dataclasses import dataclass
from typing import Any

from netllama.core.errors import StageError
from testbed.internet import events, hijacks
from testbed.internet.changes import Change
from testbed.internet.churn import plan_churn
from testbed.internet.event_candidates import Planner, Reservations
from testbed.internet.simulation import RecordedMessage, RoutingTable, World, build_world, simulate_changes
from testbed.internet.truth import measure_event


@dataclass(frozen=True)
class Recording:
    """`messages` in the order of time; `tables` is what each feed announces at the end."""

    world: World
    messages: list[RecordedMessage]
    tables: list[RoutingTable]
    events: list[dict[str, Any]]


_SCENARIOS: dict[str, tuple[str, tuple[Planner, ...]]] = {
    "everyday": ("ordinary churn only: failing links, new attributes, beacons", ()),
    "prefix_hijack": (
        "an AS announces another one's prefix; a part of the peers switches",
        (hijacks.plan_prefix_hijack,),
    ),
    "subprefix_hijack": ("an AS announces a part of another one's prefix", (hijacks.plan_subprefix_hijack,)),
    "moas": ("a prefix gets a second origin, beside those that always had one", (hijacks.plan_moas,)),
    "route_leak": ("a multihomed AS leaks its providers' routes to another provider", (events.plan_route_leak,)),
    "prepending": ("origins and a transit AS prepend, some towards one neighbour", (events.plan_prepending,)),
    "flapping": ("prefixes go down and up with a period", (events.plan_flapping,)),
    "blackholing": ("host routes with blackhole communities start and stop", (events.plan_blackholing,)),
    "outage": ("all prefixes of an AS disappear and come back", (events.plan_outage,)),
    "peer_down": ("a collector loses a session, and gets the whole table again", (events.plan_peer_down,)),
    "ipv6": ("a /48 of an IPv6 block is hijacked", (hijacks.plan_subprefix_hijack_ipv6,)),
    "mixed": (
        "several of these at once: hijacks in IPv4 and IPv6, flapping, an outage, blackholing, a lost session",
        (
            hijacks.plan_prefix_hijack,
            hijacks.plan_subprefix_hijack_ipv6,
            hijacks.plan_moas,
            events.plan_flapping,
            events.plan_blackholing,
            events.plan_outage,
            events.plan_late_peer_down,
        ),
    ),
}

ROUTING: dict[str, str] = {name: text for name, (text, _) in _SCENARIOS.items()}
"""The scenarios' names, and what happens in each beside ordinary churn."""


def simulate_hour(name: str, seed: int) -> Recording:
    """Everything that the collectors record of a scenario. StageError for a name that is none."""
    if name not in ROUTING:
        raise StageError(f"no scenario {name!r}; there are: {', '.join(ROUTING)}")
    start = build_world(seed)
    rng = random.Random(f"{name}-{seed}-events")
    taken = Reservations()
    changes: list[Change] = []
    planned = []
    for planner in _SCENARIOS[name][1]:
        new_changes, new_events = planner(start, rng, taken)
        changes += new_changes
        planned += new_events
    changes += plan_churn(start, random.Random(f"{name}-{seed}-churn"), taken)
    messages, tables = simulate_changes(start, changes, random.Random(f"{name}-{seed}-delays"))
    return Recording(start, messages, tables, [measure_event(start, messages, event) for event in planned])
