"""The notes of data/corpus: their form, that their code runs and prints what they say, and that they are in words of
their own.

A note holds what questions ask about. If it repeated their wording, or that of a seed task, looking it up would be
remembering.
"""

import ast
import contextlib
import io
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from netllama.code_tasks.code_answers import describe_failure, run_code
from netllama.contamination.normalisation import list_words
from netllama.core.markdown import extract_python_blocks
from netllama.core.records import Question, SeedTask
from netllama.sandbox.sandbox import Sandbox
from tests.data.corpus_answers import ANSWERS, WORKED_OUT
from tests.support.shipped_data import (
    CORPUS,
    SELF_CONTAINED,
    list_shipped_notes,
    load_shipped_questions,
    load_shipped_seeds,
)

NOTES = list_shipped_notes()
RUN = 8
"""Words in a row that no note shares with a question or a seed."""
LEAST_WORDS, MOST_WORDS = 150, 500
CODE = re.compile(r"^```python\n(.*?)^```\n(?:\n```text output\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
"""A block, and what it prints where the next block is labelled `text output`. Fragments are labelled otherwise."""
BLOCKS = [
    pytest.param(code, printed, id=f"{path.relative_to(CORPUS)}-{number}")
    for path in NOTES
    if path.parent.name not in SELF_CONTAINED
    for number, (code, printed) in enumerate(CODE.findall(path.read_text(encoding="utf-8")), 1)
]


def read_note(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def name_note(path: Path) -> str:
    return str(path.relative_to(CORPUS))


def drop_blocks(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def list_runs(text: str) -> Iterator[tuple[str, ...]]:
    words = list_words(text)
    return (tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1))


def list_question_texts(question: Question) -> list[str]:
    return [
        question.question,
        *question.options,
        question.answer,
        *question.aliases,
        *question.key_facts,
        question.reference,
    ]


def list_seed_texts(seed: SeedTask) -> list[str]:
    return [seed.instruction, seed.input, seed.output, seed.reference]


@cache
def find_held_runs() -> dict[tuple[str, ...], str]:
    """Each run of words of a question or seed, and the id of one that has it."""
    texts = [(item.id, text) for item in load_shipped_questions() for text in list_question_texts(item)]
    seeds = [seed for family in load_shipped_seeds().values() for seed in family]
    texts += [(seed.id, text) for seed in seeds for text in list_seed_texts(seed)]
    return {run: name for name, text in texts for run in list_runs(text)}


def find_repeats(text: str) -> list[str]:
    held = find_held_runs()
    return [f"{held[run]}: {' '.join(run)}" for run in list_runs(text) if run in held]


def test_there_are_notes() -> None:
    assert len(NOTES) >= 120


def test_no_note_shares_eight_words_in_a_row_with_a_question_or_a_seed() -> None:
    assert [(name_note(path), repeats) for path in NOTES if (repeats := find_repeats(read_note(path)))] == []


def test_a_sentence_taken_from_a_question_an_answer_or_a_seed_is_noticed() -> None:
    """The search is not blind: put into a note, in other case and punctuation, any long enough text is found."""
    questions = load_shipped_questions()
    seeds = [seed for family in load_shipped_seeds().values() for seed in family]
    taken = [question.question for question in questions] + [fact for item in questions for fact in item.key_facts]
    taken += [question.answer for question in questions if question.kind == "open"]
    taken += [text for seed in seeds for text in (seed.instruction, seed.output)]
    note = read_note(NOTES[0])
    long_enough = [text for text in taken if len(list_words(text)) >= RUN]
    assert len(long_enough) > 1500
    for text in long_enough[::7]:
        place = len(note) // 2
        assert find_repeats(f"{note[:place]}\n\n* {text.upper()} *\n{note[place:]}"), text


def find_faults_of_form(path: Path) -> list[str]:
    """What is wrong with the form of a note, in the words of what is right."""
    text = read_note(path)
    prose = drop_blocks(text)
    headings = re.findall(r"^(#+) (.+)$", prose, re.MULTILINE)
    rules = {
        "begins with its title": text.startswith("# "),
        "has one title, and sections": [marks for marks, _ in headings] == ["#"] + ["##"] * (len(headings) - 1),
        "has two sections or more": len(headings) >= 3,
        "ends with References": bool(headings) and headings[-1][1] == "References",
        "lists its references": bool(re.search(r"^## References\n\n- ", prose, re.MULTILINE)),
        "is short, and not too short": LEAST_WORDS <= len(text.split()) <= MOST_WORDS,
        "has no tabs and no spaces at the end of lines": not re.search(r"\t| $", text, re.MULTILINE),
        "ends with one line end": text.endswith("\n") and not text.endswith("\n\n"),
        "has a plain name": bool(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", path.stem)),
    }
    return [rule for rule, holds in rules.items() if not holds]


def test_a_note_is_a_title_and_sections_with_the_references_at_the_end() -> None:
    assert [(name_note(path), faults) for path in NOTES if (faults := find_faults_of_form(path))] == []


def test_a_fault_of_a_notes_form_is_noticed(tmp_path: Path) -> None:
    (right := tmp_path / "note.md").write_text(read_note(NOTES[0]))
    assert find_faults_of_form(right) == []
    for old, new, fault in (
        ("# ", "## ", "begins with its title"),
        ("\n## ", "\n# ", "has one title, and sections"),
        ("## References\n\n- ", "## References\n\n", "lists its references"),
        ("## References", "## Sources", "ends with References"),
        (" ", "\t", "has no tabs and no spaces at the end of lines"),
        ("\n", " \n", "has no tabs and no spaces at the end of lines"),
        (". ", f".{' word' * 500} ", "is short, and not too short"),
    ):
        (wrong := tmp_path / "wrong.md").write_text(read_note(NOTES[0]).replace(old, new, 1))
        assert fault in find_faults_of_form(wrong), (old, new)
    (wrong := tmp_path / "Wrong_name.md").write_text(read_note(NOTES[0]) + "\n")
    assert find_faults_of_form(wrong) == ["ends with one line end", "has a plain name"]


def test_no_two_notes_have_one_title_or_one_name() -> None:
    titles = [read_note(path).splitlines()[0] for path in NOTES]
    assert len(set(titles)) == len(titles)
    assert len({path.name for path in NOTES}) == len(NOTES)


def needs_only_the_standard_library(code: str) -> bool:
    modules = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(code))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    return modules <= sys.stdlib_module_names


@pytest.mark.parametrize(("code", "printed"), BLOCKS)
def test_the_code_of_a_note_runs_and_prints_what_stands_below_it(
    code: str, printed: str, network: Path, warm: Sandbox, tmp_path: Path
) -> None:
    if needs_only_the_standard_library(code):
        held = io.StringIO()
        with contextlib.redirect_stdout(held):
            exec(compile(code, "note", "exec"), {"__name__": "__main__"})
        out = held.getvalue()
    else:
        run = run_code(code, "", network, tmp_path, warm)
        assert describe_failure(run) == ""
        assert run.select_events("misuse") == []
        out = run.stdout
    assert out.strip()
    if printed:
        assert [line.rstrip() for line in out.splitlines()] == printed.splitlines()


def test_every_python_block_of_a_note_is_one_that_is_run() -> None:
    """A block that the pattern of this file does not see would not be run."""
    for path in NOTES:
        text = read_note(path)
        assert [code for code, _ in CODE.findall(text)] == extract_python_blocks(text), name_note(path)
        assert text.count("```text output") == sum(bool(printed) for _, printed in CODE.findall(text)), name_note(path)


def test_every_question_of_the_mapped_families_has_a_note_that_answers_it() -> None:
    mapped = [
        (f"q-{family}-{number}", note)
        for family, notes in ANSWERS.items()
        for note, numbers in notes.items()
        for number in numbers.split()
    ]
    asked = [
        question.id for question in load_shipped_questions() if question.family in ANSWERS and question.kind != "code"
    ]
    assert sorted(name for name, _ in mapped) == sorted(asked)
    assert [note for _, note in mapped if not (CORPUS / f"{note}.md").is_file()] == []


def test_the_answer_to_a_blank_stands_in_its_note() -> None:
    """By a word of its own, for all but those listed as worked out; these do not stand there."""
    blanks = {question.id: question for question in load_shipped_questions() if question.kind == "blank"}
    for family, notes in ANSWERS.items():
        missing = []
        for note, numbers in notes.items():
            text = read_note(CORPUS / f"{note}.md")
            words = f" {' '.join(list_words(text))} "
            for number in numbers.split():
                question = blanks.get(f"q-{family}-{number}")
                if question and not any(
                    f" {' '.join(list_words(answer))} " in words if list_words(answer) else f"`{answer}`" in text
                    for answer in (question.answer, *question.aliases)
                ):
                    missing.append(number)
        assert sorted(missing) == sorted(WORKED_OUT[family].split()), family
