"""Which texts of a task and of an evaluation question are compared: the same ones for generate, split and validate.

`near`   each of a task's prompts with each form of the question, as whole texts
`words`  the task as one text, searched for the passages of the question
"""

from typing import Protocol

from netllama.contamination.normalisation import blot_numbers
from netllama.core.records import LETTERS, Question
from netllama.novelty.rouge import split_rouge_tokens


class TaskTexts(Protocol):
    """The three texts of a seed, of an instruction or of a candidate; `input` may be empty."""

    @property
    def instruction(self) -> str: ...
    @property
    def input(self) -> str: ...
    @property
    def output(self) -> str: ...


def join_texts(task: TaskTexts) -> str:
    """The task as one text."""
    return f"{task.instruction} {task.input} {task.output}"


def list_prompts(task: TaskTexts) -> list[str]:
    """What the model is asked: the instruction, the instruction with the input, and an input that is worded.

    A table of numbers is not compared by itself: once its numbers are blotted out it is like every other one.
    """
    if not task.input:
        return [task.instruction]
    both = [task.instruction, f"{task.instruction} {task.input}"]
    return [*both, task.input] if _is_worded(task.input) else both


def list_forms(question: Question) -> list[str]:
    """The question, and the question with its options if it has any."""
    with_options = " ".join((question.question, *question.options))
    return [question.question, with_options] if question.options else [question.question]


def list_passages(question: Question) -> list[str]:
    """What no task may repeat: the question with its blank filled in, and each option, key fact and written answer.

    A script that answers a code question is not among them, since all scripts on one library have lines in common.
    """
    written = [question.answer] if question.kind == "open" else []
    return [fill_blank(question), *filter(_is_worded, (*question.options, *question.key_facts, *written))]


def state_answer(question: Question) -> str:
    """The question with its right answer behind it, or in its blank. A true/false question is a statement by itself,
    and a code question is left alone: what scripts have in common is no leak."""
    if question.kind == "choice":
        return f"{question.question} {question.options[LETTERS.index(question.answer)]}"
    return f"{question.question} {question.answer}" if question.kind == "open" else fill_blank(question)


def fill_blank(question: Question) -> str:
    """The question as a statement where it has a blank; any other as it is."""
    return question.question.replace("____", question.answer) if question.kind == "blank" else question.question


def _is_worded(text: str) -> bool:
    """Whether at most half of the text's tokens are numbers or addresses, so that it says something without them."""
    listed = split_rouge_tokens(blot_numbers(text))
    numbers = sum(token.startswith("0") for token in listed)  # the placeholders, with units: `0`, `0ip`, `0ms`
    return 2 * numbers <= len(listed) and bool(listed)
