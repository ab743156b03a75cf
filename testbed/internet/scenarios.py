"""Simulates an hour of the small Internet, in one of twelve scenarios, with its ground truth."""

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
    """What the collectors recorded: `messages` ordered by time, and the `tables` that the feeds announce at the end."""

    world: World
    messages: list[RecordedMessage]
    tables: list[RoutingTable]
    events: list[dict[str, Any]]


_SCENARIOS: dict[str, tuple[str, tuple[Planner, ...]]] = {
    "everyday": ("ordinary churn only: failing links, new attributes, beacons", ()),
    "prefix_hijack": (
        "an AS announces another AS's prefix; some of the peers switch",
        (hijacks.plan_prefix_hijack,),
    ),
    "subprefix_hijack": ("an AS announces a part of another AS's prefix", (hijacks.plan_subprefix_hijack,)),
    "moas": ("a prefix gets a second origin; some prefixes have two from the start", (hijacks.plan_moas,)),
    "route_leak": ("a multihomed AS leaks its providers' routes to another provider", (events.plan_route_leak,)),
    "prepending": ("origins and a transit AS prepend, some only towards one neighbour", (events.plan_prepending,)),
    "flapping": ("prefixes go down and up periodically", (events.plan_flapping,)),
    "blackholing": ("host routes with blackhole communities come and go", (events.plan_blackholing,)),
    "outage": ("all prefixes of an AS disappear and come back", (events.plan_outage,)),
    "peer_down": ("a collector loses a session and then gets the whole table again", (events.plan_peer_down,)),
    "ipv6": ("a /48 of an IPv6 block is hijacked", (hijacks.plan_subprefix_hijack_ipv6,)),
    "mixed": (
        "several of these at once: hijacks in IPv4 and IPv6, MOAS, flapping, an outage, blackholing, a lost session",
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
"""Scenario -> what happens in it beside ordinary churn, in one line."""


def simulate_hour(name: str, seed: int) -> Recording:
    """Simulate the scenario's hour and return what the collectors record. StageError for an unknown name."""
    if name not in ROUTING:
        raise StageError(f"unknown scenario {name!r}; choose one of {', '.join(ROUTING)}")
    start = build_world(seed)
    rng = random.Random(f"{name}-{seed}-events")
    reserved = Reservations()
    changes: list[Change] = []
    planned = []
    for planner in _SCENARIOS[name][1]:
        new_changes, new_events = planner(start, rng, reserved)
        changes += new_changes
        planned += new_events
    changes += plan_churn(start, random.Random(f"{name}-{seed}-churn"), reserved)
    messages, tables = simulate_changes(start, changes, random.Random(f"{name}-{seed}-delays"))
    return Recording(start, messages, tables, [measure_event(start, messages, event) for event in planned])
