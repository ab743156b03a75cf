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
    seeds: Sequence[Task], machine: Sequence[Task], num_seeds: int, num_machine: int, rng: random.Random
) -> list[Task]:
    """Seed and machine-made examples in random order; fewer where the pools are smaller.

    While the machine pool is still short, seeds take its places (Self-Instruct, section 2.2).
    """
    from_machine = rng.sample(machine, min(num_machine, len(machine)))
    missing = num_machine - len(from_machine)
    from_seeds = rng.sample(seeds, min(num_seeds + missing, len(seeds)))
    exemplars = from_seeds + from_machine
    rng.shuffle(exemplars)
    return exemplars


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
