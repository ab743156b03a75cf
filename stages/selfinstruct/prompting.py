"""A family's directive and a few example tasks into the text that asks the teacher for more.

The format is the numbered blocks of Alpaca's Self-Instruct: every teacher can continue it, the smallest
included. A completion prompt ends where the next task begins; a chat model is told to go on from there.
"""

import random
from collections.abc import Sequence

from stages.core.records import Task

NO_INPUT = "<noinput>"
SEPARATOR = "###"


def draw_exemplars(
    seeds: Sequence[Task],
    machine: Sequence[Task],
    num_seeds: int,
    num_machine: int,
    max_tokens: int,
    rng: random.Random,
) -> list[Task]:
    """Machine-made and seed examples in random order, together at most `max_tokens` long.

    While the machine pool is still short, seeds take its places (Self-Instruct, section 2.2). What does
    not fit is passed over; when nothing fits, the shortest seed is taken alone.
    """
    exemplars: list[Task] = []
    for pool, number in ((machine, num_machine), (seeds, num_seeds + num_machine)):
        for task in rng.sample(pool, len(pool)):
            if len(exemplars) < number and sum(map(tokens_of, [*exemplars, task])) <= max_tokens:
                exemplars.append(task)
    rng.shuffle(exemplars)
    return exemplars or [min(seeds, key=tokens_of)]


def tokens_of(task: Task) -> int:
    """Estimated tokens: a token is about four characters of English or code."""
    return (len(task.instruction) + len(task.input) + len(task.output)) // 4


def block(number: int, task: Task) -> str:
    return (
        f"{SEPARATOR}\n{number}. Instruction: {task.instruction}\n"
        f"{number}. Input:\n{task.input or NO_INPUT}\n{number}. Output:\n{task.output}\n"
    )


def completion_prompt(directive: str, exemplars: Sequence[Task]) -> str:
    """Ends in `N. Instruction:`, for the teacher to continue (`/v1/completions`)."""
    blocks = "".join(block(number, task) for number, task in enumerate(exemplars, start=1))
    return f"{directive.strip()}\n\n{blocks}{SEPARATOR}\n{len(exemplars) + 1}. Instruction:"


def chat_messages(directive: str, exemplars: Sequence[Task]) -> list[dict[str, str]]:
    """The directive first, so that a provider's prompt cache holds it; the examples last."""
    blocks = "".join(block(number, task) for number, task in enumerate(exemplars, start=1))
    following = len(exemplars) + 1
    return [
        {"role": "system", "content": directive.strip()},
        {
            "role": "user",
            "content": f"The list so far:\n\n{blocks}\nContinue it with new tasks from number {following} on, in "
            f"exactly this format: a line `{SEPARATOR}`, then `{following}. Instruction:`, `{following}. Input:` "
            f"({NO_INPUT} when none is needed) and `{following}. Output:`.",
        },
    ]
