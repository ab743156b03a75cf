"""A row of anybody's question file as a `Question`, or the reason why it is none.

    options and an answer                           -> choice (true_false, if the options are True and False)
    its last lines are options, and one is right    -> the same
    true or false as the answer                     -> true_false
    one run of underscores in the question          -> blank
    task_name, level and instruction                -> code
    nothing of this, and a text as the answer       -> open

What a row doesn't say stays empty. Keys are compared without case; `option 1`, `option_1` and `Option-1` are one key.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from netllama.core.files import JsonObject, hash_json
from netllama.core.records import LETTERS, Difficulty, Question, QuestionKind, parse_as
from netllama.question_shapes.answer_readings import (
    Answered,
    IndexBase,
    find_index_base,
    is_letter,
    may_name_option,
    read_answer,
)
from netllama.question_shapes.named_options import NamedOptions, check_options, find_options, read_options
from netllama.question_shapes.question_files import Entry

QUESTIONS = ("question", "statement", "instruction")
ANSWERS = ("answer", "answerkey", "answer_key", "correct_answer")
OTHER_ANSWERS = ("correct", "correct_option", "answer_index", "answer_idx", "correct_index", "label", "gold", "target")
"""Keys of the answer where there is none of `ANSWERS`; beside one of these they may mean anything."""
SOLUTIONS = ("solution", "canonical_solution", *ANSWERS)
INDICES = ("answer_index", "answer_idx", "correct_index")
"""Those that say by their name that a number is no label."""
ALIASES = ("aliases", "alternatives")
CATEGORIES = ("category", "subject", "task_name")
DIFFICULTIES = ("difficulty", "level")
LEVELS: tuple[Difficulty, ...] = ("easy", "medium", "hard")
TRUTH_LIKE = ("yes", "no", "correct", "incorrect", "right", "wrong")
TRUTHS = {"true": "true", "t": "true", "false": "false", "f": "false"}
_BLANK = re.compile(r"_{3,}|(?<!\w)__(?!\w)")
"""Two underscores are a blank where they stand alone, and part of a name (`__init__`) elsewhere."""
_WRONG = re.compile(r"(?:incorrect|wrong)_answers?(?:_?\d+)?|distractors?(?:_?\d+)?|opt?_?[a-j]")
"""Keys of options that are not read: of some sets they are the wrong ones alone."""
_LETTER = (
    "answer {!r} looks like the letter of an option, and there are none: write them under options, or a line each "
    "behind the question; an answer of one letter needs {}"
)
_LONE = re.compile(r"(?<!\w)_(?!\w)")


@dataclass
class ReadEntry:
    """What became of an entry: a question, or a problem; and what is worth knowing of it."""

    line: int
    question: Question | None = None
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    """Keys of the row that have no place in a question."""


@dataclass(frozen=True)
class _Row:
    """A row with normalised keys, which takes note of those that are used."""

    values: Mapping[str, Any]
    used: set[str]

    def take(self, names: Sequence[str]) -> Any:
        """The value of the one key of `names` that the row has; None: it has none. Two of them are a ValueError."""
        found = [name for name in names if self.values.get(name) not in (None, "", [])]
        self.used.update(name for name in names if name in self.values)
        if len(found) > 1:
            raise ValueError(f"has {' and '.join(found)}, which mean the same; keep one")
        return self.values[found[0]] if found else None

    def take_answer(self) -> Any:
        answer = self.take(ANSWERS)
        return self.take(OTHER_ANSWERS) if answer is None else answer

    def take_text(self, names: Sequence[str]) -> str:
        value = self.take(names)
        if value is None:
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError(f"{names[0]} is not a text")
        return str(value).strip()

    def take_texts(self, names: Sequence[str]) -> list[str]:
        value = self.take(names)
        listed = value if isinstance(value, list) else [] if value is None else [value]
        if any(isinstance(each, bool) or not isinstance(each, str | int | float) for each in listed):
            raise ValueError(f"{names[0]} holds something that is not a text")
        return [text for each in listed if (text := str(each).strip())]


def convert_entries(entries: Sequence[Entry], suite: str, first_index: int | None = None) -> list[ReadEntry]:
    """What became of each entry of one file. `first_index`: what indices count from, if the user says so.

    The id of a question depends on its suite and its words only, so that it stays the same when a file is sorted or
    grows.
    """
    given = None if first_index is None else IndexBase(first_index, "", is_given=True)
    base = given or find_index_base(_list_answers(entries))
    return [_convert_entry(entry, suite, base) for entry in entries]


def _list_answers(entries: Sequence[Entry]) -> list[Answered]:
    answers: list[Answered] = []
    for entry in entries:
        try:
            row = _normalise_keys(entry.row)
            options, _ = read_options(row.values)
            if options:
                answers.append((entry.line, row.take_answer(), options))
        except ValueError:
            continue  # said when the entry is converted
    return answers


def _convert_entry(entry: Entry, suite: str, base: IndexBase) -> ReadEntry:
    found = ReadEntry(entry.line, problem=entry.problem)
    if found.problem:
        return found
    try:
        if set(entry.row) >= {"kind", "family", "id"}:
            found.question = parse_as(Question, entry.row)
        else:
            found.question = _convert_row(_normalise_keys(entry.row), suite, base, found)
    except ValueError as error:
        found.problem = str(error)
    return found


def _normalise_keys(row: JsonObject) -> _Row:
    names = [re.sub(r"[\s-]+", "_", name.strip().lower()) for name in row]
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        raise ValueError(f"has the key {twice[0]} twice, in two spellings; keep one")
    return _Row(dict(zip(names, row.values(), strict=True)), set())


def _convert_row(row: _Row, suite: str, base: IndexBase, found: ReadEntry) -> Question:
    if {"instruction", "output"} <= row.values.keys():
        raise ValueError("is a task with its answer, to train on; such files belong to data/extra/")
    text = row.take_text(QUESTIONS)
    if not text:
        raise ValueError(f"has no {', '.join(QUESTIONS[:-1])} or {QUESTIONS[-1]}")
    options, used = read_options(row.values)
    row.used.update(used)
    asked = _ask(row, text, options, base, found.notes)
    question = Question(
        id=f"q-{suite}-{hash_json([asked.kind, text, asked.options])[:10]}",
        family=suite,
        kind=asked.kind,
        category=row.take_text(CATEGORIES),
        difficulty=_read_difficulty(row.take_text(DIFFICULTIES), found.notes),
        question=asked.text,
        options=asked.options,
        answer=asked.answer,
        aliases=asked.aliases,
        key_facts=row.take_texts(("key_facts",)) if asked.kind == "open" else [],
        reference=row.take_text(("reference",)),
        cluster=row.take_text(("cluster",)),
    )
    if asked.kind == "open" and not question.key_facts:
        found.notes.append("no key_facts: the sentences of its answer are taken for them")
    found.unused = [key for key in row.values if key not in row.used]
    return question


@dataclass(frozen=True)
class _Asked:
    """What is asked, and what is right."""

    kind: QuestionKind
    text: str
    answer: str
    options: list[str] = field(default_factory=list)
    aliases: list[str] = field(default_factory=list)


def _ask(row: _Row, text: str, options: NamedOptions | None, base: IndexBase, notes: list[str]) -> _Asked:
    if options:
        return _ask_choice(row, text, options, base)
    if {"task_name", "level"} <= row.values.keys() and row.values.get("instruction"):
        solution = row.take_text(SOLUTIONS)
        if not solution:
            notes.append("no solution: it can be seen how far its code gets, not whether the result is right")
        return _Asked("code", text, solution)
    answer = row.take_answer()
    if answer is None:
        raise ValueError(f"has no answer (one of the keys {', '.join((*ANSWERS, *OTHER_ANSWERS))})")
    asked, listed = find_options(text)
    if listed and may_name_option(answer, listed):
        check_options(listed)
        notes.append(f"its last {len(listed.texts)} lines are its options")
        return _ask_choice(row, asked, listed, base)
    blanks = _BLANK.findall(text)
    if not blanks and _LONE.search(text):
        raise ValueError("a single _ may be a blank or a name; write a blank as ____")
    if len(blanks) > 1:
        raise ValueError(f"has {len(blanks)} blanks; a question has one")
    if blanks:
        first, *others = row.take_texts(ANSWERS) or row.take_texts(OTHER_ANSWERS) or [""]
        if others:
            notes.append(f"{len(others) + 1} answers to one blank: each of them counts as right")
        aliases = [each for each in dict.fromkeys([*others, *row.take_texts(ALIASES)]) if each != first]
        if is_letter(first) and not aliases:
            raise ValueError(_LETTER.format(first, "aliases"))
        return _Asked("blank", _BLANK.sub("____", text), _require(first), aliases=aliases)
    truth = str(answer).strip().rstrip(".").lower() if isinstance(answer, bool | str) else ""
    if truth in TRUTHS:
        return _Asked("true_false", text, TRUTHS[truth])
    if truth in TRUTH_LIKE or (truth in ("0", "1") and "?" not in text):
        raise ValueError(f"answer {answer!r} fits a question; write a statement with true or false")
    if not isinstance(answer, str):
        raise ValueError(
            f"answer {answer!r} is not a text, and there are no options, and no blank, that it could be for"
        )
    if is_letter(answer) and not row.take_texts(("key_facts",)):
        raise ValueError(_LETTER.format(answer, "key_facts"))
    if others := [key for key in row.values if _WRONG.fullmatch(key)]:
        raise ValueError(f"has {', '.join(others)}; write all options, the right one too, under options")
    return _Asked("open", text, _require(answer.strip()))


def _ask_choice(row: _Row, text: str, options: NamedOptions, base: IndexBase) -> _Asked:
    answer = row.take_answer()
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if answer is None:
        raise ValueError(f"has options and no answer (one of the keys {', '.join((*ANSWERS, *OTHER_ANSWERS))})")
    if isinstance(answer, list):
        raise ValueError(f"has {len(answer)} right answers; a question has one")
    index = next((name for name in INDICES if row.values.get(name) == answer), "")
    if index and str(answer) in options.labels and not base.is_given:
        raise ValueError(f"{index} {answer} may be an index or the number of an option; say --first-index 0 or 1")
    truths = [option.strip().lower() for option in options.texts]
    if sorted(truths) == ["false", "true"]:
        truth = str(answer).strip().rstrip(".").lower()
        if truth in TRUTHS:
            return _Asked("true_false", text, TRUTHS[truth])
        return _Asked("true_false", text, truths[read_answer(answer, options, base)])
    return _Asked("choice", text, LETTERS[read_answer(answer, options, base)], options.texts)


def _require(answer: str) -> str:
    if not answer:
        raise ValueError("answer is empty")
    return answer


def _read_difficulty(level: str, notes: list[str]) -> Difficulty:
    for known in LEVELS:
        if level.lower() == known:
            return known
    if level:
        notes.append(f"level {level!r} is none of {', '.join(LEVELS)}; left out")
    return ""
