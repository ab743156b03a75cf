"""Tasks `filter`: elements, some of which are wanted -> the PyBGPStream filter string that selects them and no other.

easy: one term about the peer, the collector, the type or the IP version; medium: one about the origin, the prefix or a
community; hard: two terms. As in the library, origin and community filters reject withdrawals, and `prefix more` takes
the prefix itself, too.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from testbed.tasks.task_networks import HEADER, TaskElement, TaskNetwork, is_within
from testbed.tasks.task_records import Level, TaskDraft

WORDINGS = (
    "Which PyBGPStream filter string selects {wanted} of these elements and no other? Use the term{plural} {terms}.",
    "Write a filter for BGPStream that keeps {wanted} and drops the rest, with {terms} alone.",
    "I only want {wanted}. Give me the filter= string, made of {terms}.",
    "These came out of an unfiltered stream. Narrow it down to {wanted} by {terms}.",
    "For PyBGPStream: which filter lets {wanted} through and nothing else listed? It takes {terms}.",
    "Keep {wanted}; reject the others. The filter string may use {terms}.",
    "My stream is too wide. What do I pass as filter so that just {wanted} will remain? Stick to {terms}.",
    "Express what tells {wanted} from all others as a BGPStream filter on {terms}.",
    "Out of this sample the script should see {wanted}. Put that into a filter string with {terms}.",
    "Say in the filter language of BGPStream: {wanted}. Allowed: {terms}.",
    "Select {wanted} by {terms}: which filter string does it?",
    "What is wanted is {wanted}. Find the filter on {terms} that picks exactly that.",
    "Give a filter string on {terms} that leaves {wanted} and nothing more.",
    "What would you hand to BGPStream(filter=...) to see {wanted} only? The answer uses {terms}.",
)
_TYPES = {"R": "ribs", "A": "announcements", "W": "withdrawals"}
_TERMS: dict[Level, tuple[tuple[str, ...], ...]] = {
    "easy": (("peer",), ("collector",), ("elemtype",), ("ipversion",)),
    "medium": (("origin",), ("prefix",), ("community",)),
    "hard": (
        ("peer", "elemtype"),
        ("collector", "elemtype"),
        ("origin", "elemtype"),
        ("prefix", "peer"),
        ("community", "peer"),
        ("ipversion", "elemtype"),
    ),
}
_POOL = 100
"""Elements of each type among which lines are sought."""
_MOST_HOPS, _MOST_COMMUNITIES = 6, 4


class Clause(NamedTuple):
    """A term with its value, and whether an element passes it."""

    text: str
    passes: Callable[[TaskElement], bool]


def draw_filter(network: TaskNetwork, rng: Random, level: Level) -> TaskDraft:
    while True:
        # As many of each type: table entries are nine in ten of all elements.
        pool = [each for name in _TYPES for each in _sample_short(network.elements[name], rng)]
        terms = rng.choice(_TERMS[level])
        sample = rng.choice(pool)
        clauses = [_make_clause(term, sample) for term in terms]
        found = [clause for clause in clauses if clause]
        if len(found) < len(terms):
            continue
        chosen = _choose_lines(sample, pool, found, rng)
        if chosen:
            break
    wanted = tuple(number for number, each in enumerate(chosen, 1) if all(c.passes(each) for c in found))
    listing = "\n".join([HEADER, *(each.format_line(number) for number, each in enumerate(chosen, 1))])
    fields = {
        "wanted": f"line{'s' * (len(wanted) > 1)} " + _join_words([str(number) for number in wanted]),
        "terms": " and ".join(terms),
        "plural": "s" * (len(terms) > 1),
    }
    answer = " and ".join(clause.text for clause in found)
    return TaskDraft(fields, listing, answer, "filter", selected=wanted)


def _choose_lines(
    sample: TaskElement, pool: list[TaskElement], clauses: list[Clause], rng: Random
) -> list[TaskElement]:
    """The sample and up to two others that pass, and three that don't: for each of several clauses one that fails it
    and passes the others, where the pool has one."""
    passes = [all(clause.passes(each) for clause in clauses) for each in pool]
    passing = [each for each, passed in zip(pool, passes, strict=True) if passed and each != sample]
    failing = [each for each, passed in zip(pool, passes, strict=True) if not passed]
    if len(failing) < 3:
        return []
    others: list[TaskElement] = []
    for clause in clauses if len(clauses) > 1 else ():
        near = [e for e in failing if all(c.passes(e) != (c is clause) for c in clauses) and e not in others]
        others += rng.sample(near, min(1, len(near)))
    rest = [each for each in failing if each not in others]
    others += rng.sample(rest, min(len(rest), 3 - len(others)))
    chosen = [sample, *rng.sample(passing, min(len(passing), rng.randrange(3))), *others]
    rng.shuffle(chosen)
    return chosen


def _sample_short(elements: list[TaskElement], rng: Random) -> list[TaskElement]:
    drawn = rng.sample(elements, min(len(elements), _POOL))
    return [each for each in drawn if len(each.path) <= _MOST_HOPS and len(each.communities) <= _MOST_COMMUNITIES]


def _join_words(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _make_clause(term: str, sample: TaskElement) -> Clause | None:
    """The clause of a term that the sample passes; None where there is none."""
    match term:
        case "peer":
            return Clause(f"peer {sample.peer}", lambda each: each.peer == sample.peer)
        case "collector":
            return Clause(f"collector {sample.collector}", lambda each: each.collector == sample.collector)
        case "elemtype":
            return Clause(f"elemtype {_TYPES[sample.type]}", lambda each: each.type == sample.type)
        case "ipversion":
            return Clause(f"ipversion {sample.version}", lambda each: each.version == sample.version)
        case "origin" if sample.path:
            return Clause(f"origin {sample.path[-1]}", lambda each: each.path[-1:] == sample.path[-1:])
        case "community" if sample.communities:
            first = sample.communities[0]
            return Clause(f"community {first[0]}:{first[1]}", lambda each: first in each.communities)
        case "prefix":
            return Clause(f"prefix more {sample.prefix}", lambda each: is_within(each.prefix, sample.prefix))
    return None
