"""The name of a scenario and a seed -> an hour of a small Internet, recorded, with its ground truth."""

import random
from dataclasses import dataclass
from typing import Any

from netllama.core.errors import StageError
from testbed.internet import events, hijacks
from testbed.internet.changes import Change
from testbed.internet.churn import churn
from testbed.internet.event_candidates import Planner, Taken
from testbed.internet.simulation import Message, Table, World, play, world
from testbed.internet.truth import measured


@dataclass(frozen=True)
class Recording:
    """`messages` in the order of time; `tables` is what each feed announces at the end."""

    world: World
    messages: list[Message]
    tables: list[Table]
    events: list[dict[str, Any]]


_SCENARIOS: dict[str, tuple[str, tuple[Planner, ...]]] = {
    "everyday": ("ordinary churn only: failing links, new attributes, beacons", ()),
    "prefix_hijack": ("an AS announces another one's prefix; a part of the peers switches", (hijacks.prefix_hijack,)),
    "subprefix_hijack": ("an AS announces a part of another one's prefix", (hijacks.subprefix_hijack,)),
    "moas": ("a prefix gets a second origin, beside those that always had one", (hijacks.moas,)),
    "route_leak": ("a multihomed AS leaks its providers' routes to another provider", (events.route_leak,)),
    "prepending": ("origins and a transit AS prepend, some towards one neighbour", (events.prepending,)),
    "flapping": ("prefixes go down and up with a period", (events.flapping,)),
    "blackholing": ("host routes with blackhole communities start and stop", (events.blackholing,)),
    "outage": ("all prefixes of an AS disappear and come back", (events.outage,)),
    "peer_down": ("a collector loses a session, and gets the whole table again", (events.peer_down,)),
    "ipv6": ("a /48 of an IPv6 block is hijacked", (hijacks.subprefix_hijack_ipv6,)),
    "mixed": (
        "several of these at once: hijacks in IPv4 and IPv6, flapping, an outage, blackholing, a lost session",
        (
            hijacks.prefix_hijack,
            hijacks.subprefix_hijack_ipv6,
            hijacks.moas,
            events.flapping,
            events.blackholing,
            events.outage,
            events.peer_down_late,
        ),
    ),
}

ROUTING: dict[str, str] = {name: text for name, (text, _) in _SCENARIOS.items()}
"""The scenarios' names, and what happens in each beside ordinary churn."""


def recorded(name: str, seed: int) -> Recording:
    """Everything that the collectors record of a scenario. StageError for a name that is none."""
    if name not in ROUTING:
        raise StageError(f"no scenario {name!r}; there are: {', '.join(ROUTING)}")
    start = world(seed)
    rng = random.Random(f"{name}-{seed}-events")
    taken = Taken()
    changes: list[Change] = []
    planned = []
    for planner in _SCENARIOS[name][1]:
        new_changes, new_events = planner(start, rng, taken)
        changes += new_changes
        planned += new_events
    changes += churn(start, random.Random(f"{name}-{seed}-churn"), taken)
    messages, tables = play(start, changes, random.Random(f"{name}-{seed}-delays"))
    return Recording(start, messages, tables, [measured(start, messages, event) for event in planned])
