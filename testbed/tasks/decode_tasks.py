"""Tasks `decode`: an UPDATE message in hexadecimal digits -> one of its fields (RFC 4271, RFC 4760, RFC 8092).

easy: one IPv4 prefix with the mandatory attributes; medium: optional attributes, several prefixes, withdrawals; hard:
IPv6 in MP_REACH_NLRI and MP_UNREACH_NLRI, large communities, AGGREGATOR, and digits without spaces.
"""

import re
from dataclasses import replace
from random import Random

from testbed.internet.bgp import PathAttributes, encode_update
from testbed.tasks.task_networks import TaskNetwork, list_sequence
from testbed.tasks.task_records import Level, TaskDraft

WORDINGS = (
    "The octets below are a BGP UPDATE as a collector received it. Read {asked} out of them.",
    "Take this UPDATE apart by hand and give {asked}.",
    "I copied a BGP message from a capture as hex. Tell me {asked}.",
    "Here is a raw UPDATE, marker included. Work out {asked}.",
    "My parser crashed on these octets, so I need a human: {asked}, please.",
    "From the hex dump of one UPDATE, extract {asked}.",
    "Walk through the fields of the dumped message until you reach {asked}, and write it down.",
    "A peer sent us this; the session has four-octet AS numbers. I want {asked}.",
    "Decode: what do these octets say about {asked}?",
    "Somebody pasted a BGP message into the ticket. Find {asked} in it.",
    "For a parser's unit test I need the expected value of {asked} in this UPDATE.",
    "Look at the wire format that follows and report {asked}.",
    "Which value does the following message carry for {asked}?",
    "Turn this dump back into something readable; all I care about is {asked}.",
)
"""`asked`: with its article."""
_PHRASES = {
    "prefix": "the announced prefix",
    "prefixes": "all announced prefixes",
    "withdrawn": "the withdrawn prefixes",
    "path": "the AS path",
    "origin": "the AS that originates the route",
    "next_hop": "the next hop",
    "med": "the MULTI_EXIT_DISC",
    "communities": "the standard communities",
    "large": "the large communities",
    "aggregator": "the AS number in AGGREGATOR",
}
_MOST = 4
"""Values of a list that is asked for."""


def draw_decode(network: TaskNetwork, rng: Random, level: Level) -> TaskDraft:
    ipv6 = level == "hard"
    routes = [(p, a) for p, a in network.routes if (":" in p) == ipv6 and list_sequence(a)]
    prefix, attributes = rng.choice(routes)
    withdrawn: list[str] = []
    announced = [prefix]
    if level == "easy":
        field = rng.choice(("prefix", "path", "next_hop", "origin"))
        attributes = replace(_strip(attributes), med=None, communities=())
    elif level == "medium":
        field = rng.choice(("prefixes", "withdrawn", "med", "communities", "origin"))
        attributes = replace(
            _strip(attributes), med=rng.randrange(1, 1000), communities=attributes.communities or ((65535, 65281),)
        )
        if field in ("prefixes", "withdrawn"):
            announced = _draw_prefixes(routes, rng)
            withdrawn = [each for each in _draw_prefixes(routes, rng) if each not in announced]
    else:
        field = rng.choice(("prefix", "next_hop", "path", "large", "aggregator", "withdrawn"))
        attributes = _enrich(network, attributes, rng)
        if field == "withdrawn":
            announced, withdrawn = [], _draw_prefixes(routes, rng)
    if field == "withdrawn" and not withdrawn:
        field = "prefixes"
    message = encode_update(announced, withdrawn, attributes if announced else None)
    answer = _read(field, announced, withdrawn, attributes)
    listed = field in ("prefixes", "withdrawn", "communities", "large")
    return TaskDraft(
        fields={"asked": _PHRASES[field]},
        input=message.hex() if level == "hard" else message.hex(" "),
        answer=answer,
        judged="list" if listed else "text",
        aliases=(re.sub(r"(\d+)", r"AS\1", answer),) if field in ("origin", "aggregator", "path") else (),
    )


def _strip(attributes: PathAttributes) -> PathAttributes:
    return replace(
        attributes,
        large_communities=(),
        aggregator=None,
        atomic_aggregate=False,
        communities=attributes.communities[:_MOST],
    )


def _enrich(network: TaskNetwork, attributes: PathAttributes, rng: Random) -> PathAttributes:
    """With the attributes that few routes carry, made of the route's own numbers."""
    path = list_sequence(attributes)
    large = attributes.large_communities or ((path[-1], rng.randrange(1, 300), rng.randrange(1, 5)),)
    router = next((a.next_hop for _, a in network.routes if ":" not in a.next_hop), "")
    return replace(
        attributes,
        communities=attributes.communities[:2],
        large_communities=large[:2],
        aggregator=attributes.aggregator or (path[-1], router),
    )


def _draw_prefixes(routes: list[tuple[str, PathAttributes]], rng: Random) -> list[str]:
    return list(dict.fromkeys(prefix for prefix, _ in rng.sample(routes, rng.randrange(2, _MOST))))


def _read(field: str, announced: list[str], withdrawn: list[str], attributes: PathAttributes) -> str:
    path = list_sequence(attributes)
    values = {
        "prefix": lambda: announced[0],
        "prefixes": lambda: ", ".join(announced),
        "withdrawn": lambda: ", ".join(withdrawn),
        "path": lambda: " ".join(map(str, path)),
        "origin": lambda: str(path[-1]),
        "next_hop": lambda: attributes.next_hop,
        "med": lambda: str(attributes.med),
        "communities": lambda: ", ".join(f"{a}:{b}" for a, b in attributes.communities),
        "large": lambda: ", ".join(f"{a}:{b}:{c}" for a, b, c in attributes.large_communities),
        "aggregator": lambda: str(attributes.aggregator[0] if attributes.aggregator else ""),
    }
    return values[field]()
