"""Draws tasks: a pure function of side, seed and place, so that a longer draw begins with the shorter one."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random

from testbed.reports.report_records import Side
from testbed.tasks import (
    decode_tasks,
    filter_tasks,
    origin_tasks,
    percentile_tasks,
    repair_tasks,
    retransmission_tasks,
)
from testbed.tasks.task_networks import TASKS_OF_A_NETWORK, TaskNetwork, open_network
from testbed.tasks.task_records import FAMILY, KINDS, LEVELS, Judged, Level, ProgramTask, TaskDraft, TaskKind

Draw = Callable[[TaskNetwork, Random, Level], TaskDraft]
TEST_SEED = 1
"""Of the tasks that models are measured on, whatever they were trained on."""
HELD_OUT = 2
"""Wordings of a kind that only side `test` uses, the last ones."""
DRAWS: Mapping[TaskKind, tuple[Draw, tuple[str, ...]]] = {
    "decode": (decode_tasks.draw_decode, decode_tasks.WORDINGS),
    "origin": (origin_tasks.draw_origin, origin_tasks.WORDINGS),
    "percentile": (percentile_tasks.draw_percentile, percentile_tasks.WORDINGS),
    "retransmissions": (retransmission_tasks.draw_retransmissions, retransmission_tasks.WORDINGS),
    "filter": (filter_tasks.draw_filter, filter_tasks.WORDINGS),
    "repair": (repair_tasks.draw_repair, repair_tasks.WORDINGS),
}
_FORMS: Mapping[Judged, tuple[str, ...]] = {
    "text": ("Write the value alone.", "Answer with nothing but the value.", "Only the value, no explanation."),
    "list": (
        "Separate the values by commas, and write nothing else.",
        "Write only the values, with commas between them.",
    ),
    "filter": ("Write the filter string alone.", "Answer with nothing but the string."),
    "script": ("Write the whole script.", "Answer with the complete script in a code block."),
}


def make_tasks(side: Side, seed: int, number: int) -> list[ProgramTask]:
    """`number` tasks, their kinds and levels in turn. Each network, of 96 tasks, takes about half a second."""
    return list(itertools.islice(iterate_tasks(side, seed), number))


def iterate_tasks(side: Side, seed: int) -> Iterator[ProgramTask]:
    """No two tasks have the same texts: one that was drawn before is drawn anew."""
    seen: set[tuple[str, str, str]] = set()
    for place in itertools.count():
        kind, level = KINDS[place % len(KINDS)], LEVELS[place // len(KINDS) % len(LEVELS)]
        network = open_network(side, seed, place // TASKS_OF_A_NETWORK)
        for attempt in itertools.count():
            draft = DRAWS[kind][0](network, rng := Random(f"{side}/{seed}/{place}/{attempt}"), level)
            text = (kind, draft.fields.get("asked", ""), draft.input)
            if text not in seen:
                break
        seen.add(text)
        wordings = DRAWS[kind][1]
        known = wordings[:-HELD_OUT] if side == "train" else wordings
        wording = _choose_wording(known, rng, draft)
        yield ProgramTask(
            id=f"{FAMILY}-{side}-{place:05}", kind=kind, difficulty=level, instruction=wording, draft=draft
        )


def _choose_wording(wordings: Sequence[str], rng: Random, draft: TaskDraft) -> str:
    return f"{rng.choice(wordings).format_map(draft.fields)} {rng.choice(_FORMS[draft.judged])}"
