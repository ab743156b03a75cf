"""Tasks that a program draws from the testbed, as rows of train.

They are placed on no side by their texts: tasks of a kind resemble each other, and would stay together. What keeps them
apart from evaluation are the networks, of which each side has its own.
"""

from collections.abc import Sequence

from netllama.core.records import ProgramInstruction, Question
from netllama.core.sections import ContaminationParams
from netllama.splitting.drops import Drop
from netllama.splitting.groups import Assignment
from netllama.splitting.pool_rows import PoolRow, drop_given_away
from testbed.tasks.task_records import FAMILY
from testbed.tasks.task_set import make_tasks


def make_program_rows(number: int, seed: int) -> list[ProgramInstruction]:
    return [
        ProgramInstruction(
            id=task.id,
            family=FAMILY,
            category=task.kind,
            instruction=task.instruction,
            input=task.draft.input,
            output=task.draft.answer,
            difficulty=task.difficulty,
        )
        for task in make_tasks("train", seed, number)
    ]


def add_program_rows(
    found: Assignment, number: int, seed: int, questions: Sequence[Question], contamination: ContaminationParams
) -> list[Drop]:
    """Add `number` tasks to train, but for those that give a question away: they are returned."""
    if not number:
        return []
    rows = [PoolRow(row) for row in make_program_rows(number, seed)]
    screened = drop_given_away(rows, questions, contamination)
    found.sides["train"] += [row.task for row in screened.kept]
    found.groups.update({row.task.id: [row.task.id] for row in screened.kept})
    return screened.drops
