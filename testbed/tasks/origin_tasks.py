"""Tasks `origin`: routes as a collector lists them -> the AS that originates a prefix.

easy: one route; medium: the routes of several prefixes, prepending among them; hard: the most specific prefix that
holds an address has to be found first (RFC 4632, longest match).
"""

import ipaddress
from collections.abc import Mapping, Sequence
from random import Random

from testbed.tasks.task_networks import HEADER, TaskElement, TaskNetwork, is_within
from testbed.tasks.task_records import Level, TaskDraft

WORDINGS = (
    "Name the origin AS of {target}, going by this listing.",
    "Below is what our collector has. Which AS originates {target}?",
    "At the far end of its path, who announces {target}?",
    "I have to mail whoever originates {target}. Give me the AS number from these lines.",
    "Check the paths listed here and say from which AS {target} comes.",
    "Going through the table by eye: {target} belongs to which origin?",
    "A customer complains about {target}. Look up its origin in the excerpt.",
    "Fill in the ROA form: the origin AS for {target} is the one seen here.",
    "Of the systems in these paths, one originates {target}. Write down its number.",
    "Use the excerpt of the table to find where {target} is originated.",
    "For our hijack alarm: the AS that currently originates {target} in this view?",
    "Read this dump and tell me which network stands behind {target} as its origin.",
    "Tell me the last AS on the way to {target}.",
    "Trace {target} to the AS that put it into BGP.",
)
"""`target`: a prefix, or traffic to an address."""
_LINES = {"easy": 1, "medium": 4, "hard": 6}


def draw_origin(network: TaskNetwork, rng: Random, level: Level) -> TaskDraft:
    table = network.elements["R"]
    asked, target = rng.choice(table), ""
    others: list[TaskElement] = []
    if level == "hard":
        asked, cover, address = _draw_nested(network.tables, rng)
        target, others = f"the route that {address} uses", [cover]
    target = target or asked.prefix
    taken = {asked.prefix, *(each.prefix for each in others)}
    while len(others) + 1 < _LINES[level]:
        other = rng.choice(table)
        if other.version == asked.version and other.prefix not in taken and other.peer == asked.peer:
            if level == "hard" and _holds(other.prefix, target.split()[-2]):
                continue
            taken.add(other.prefix)
            others.append(other)
    lines = [asked, *others]
    rng.shuffle(lines)
    listing = "\n".join([HEADER, *(each.format_line(number) for number, each in enumerate(lines, 1))])
    answer = str(asked.path[-1])
    return TaskDraft({"target": target}, listing, answer, aliases=(f"AS{answer}",))


def _draw_nested(tables: Mapping[int, Sequence[TaskElement]], rng: Random) -> tuple[TaskElement, TaskElement, str]:
    """(the right one, the other one, an address) of two routes of a peer, of which one lies within the other. The
    address is of the longer prefix, or of the part of the shorter one that the longer one leaves."""
    while True:
        table = tables[rng.choice(sorted(tables))]
        inner = rng.choice(table)
        network = ipaddress.ip_network(inner.prefix)
        covers = [each for each in table if _covers(each.prefix, inner.prefix)]
        if not covers:
            continue
        outer = rng.choice(covers)
        whole = ipaddress.ip_network(outer.prefix)
        inside = rng.random() < 0.6
        held = network if inside else whole
        address = str(held.network_address + rng.randrange(1, held.num_addresses - 1))
        best = max((each for each in table if _holds(each.prefix, address)), key=_length)
        right = inner if inside else outer
        if best.prefix == right.prefix:
            return right, outer if inside else inner, address


def _length(element: TaskElement) -> int:
    return int(element.prefix.partition("/")[2])


def _covers(prefix: str, other: str) -> bool:
    return prefix != other and is_within(other, prefix)


def _holds(prefix: str, address: str) -> bool:
    return is_within(address, prefix)
