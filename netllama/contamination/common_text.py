"""What rows say of their own: without the text that many of them share, and with the numbers where these are the task.

Generated sets are full of common text: a system prompt, imports, how the data is loaded, a closing remark. It is no
leak that two sides have it, and rows that have nothing but it in common are not near. So a run of words that MANY rows
hold is taken away before rows are compared. Then two rows are

`near`     by the ROUGE-L F1 of what is left (`state_own`), numbers blotted out;
`passage`  where half of one's own runs of words are in the other (`find_runs`), numbers included.

Where MANY prompts differ in nothing but their numbers and the answers differ in more than a copy of them, the numbers
are the task ("Is this window of counters unusual?"). Such rows are near only if their prompts are the same.
"""

import hashlib
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from netllama.contamination.compared_texts import TaskTexts, join_texts
from netllama.contamination.normalisation import blot_numbers, list_words
from netllama.contamination.text_workers import map_texts
from netllama.core.progress_bar import track_results
from netllama.novelty.rouge import split_rouge_tokens
from netllama.novelty.token_hashes import hash_text, hash_token

MANY = 20
"""Rows from which on a run of words is common text, if the pool is small."""
MANY_OF_ALL = 0.02
"""The share of a larger pool's rows from which on a run is taken away before rows are compared for `near`. Fewer rows
can stay together, and should: thirty wordings of one task share as much with each other as with a system prompt."""
SHARE = 0.5
"""The share of a row's own runs that, found in another row, make the two a passage apart."""

T = TypeVar("T")
Hashes = NDArray[np.uint64]
Flags = NDArray[np.bool_]
# Odd, so that no power of it loses bits; hashes of tokens are random, so it need not be.
_BASE = 0x9E3779B97F4A7C15


class OwnRuns(NamedTuple):
    """The runs of a row that are not common text, each once."""

    number: int
    shared: list[int]
    """Hashes of those that another row holds."""


class RunTable:
    """Which runs of `length` tokens several texts of a pool hold, and which of them `many` do."""

    def __init__(self, length: int, many: int) -> None:
        self.length, self._many = length, many
        self._seen = array("Q")
        self._shared: Hashes = np.empty(0, np.uint64)
        self._common = self._shared

    def add(self, runs: Hashes) -> None:
        """The runs of one text, each once. 8 bytes a run are held until `close`."""
        self._seen.frombytes(runs.tobytes())

    def close(self) -> None:
        """Keep what several texts hold, forget the rest."""
        every = np.frombuffer(self._seen, np.uint64)
        every.sort()
        self._shared = np.unique(every[1:][every[1:] == every[:-1]])
        last = self._many - 1
        self._common = np.unique(every[last:][every[last:] == every[:-last]])
        self._seen = array("Q")

    def mark_common(self, tokens: Sequence[str]) -> Flags:
        """For each token whether a common run covers it."""
        return self._cover(is_in(hash_runs(tokens, self.length), self._common), len(tokens))

    def find_own(self, tokens: Sequence[str]) -> OwnRuns:
        """The runs that have no token in common text."""
        hashes = hash_runs(tokens, self.length)
        covered = self._cover(is_in(hashes, self._common), len(tokens))
        own = np.unique(hashes[~self._touch(covered)[: len(hashes)]])
        return OwnRuns(len(own), own[is_in(own, self._shared)].tolist())

    def _cover(self, runs: Flags, tokens: int) -> Flags:
        """The tokens that the runs marked by `runs` consist of."""
        covered = np.zeros(tokens, np.bool_)
        if runs.any():
            for place in range(self.length):
                covered[place : place + len(runs)] |= runs
        return covered

    def _touch(self, tokens: Flags) -> Flags:
        """The runs that have one of the marked tokens."""
        before = np.concatenate([[0], np.cumsum(tokens)])
        touched: Flags = before[self.length :] > before[: -self.length]
        return touched


class _HashedTask(NamedTuple):
    """What it takes of a row to know what rows have in common."""

    words: Hashes
    """Each run of its words once."""
    tokens: Hashes
    """Each run of its tokens, which crosses no border of prompt and answer."""
    text: int
    prompt: int
    template: int
    answer: int

    @classmethod
    def build(cls, length: int) -> Callable[[TaskTexts], "_HashedTask"]:
        """A function that hashes rows, in runs of `length`."""
        return partial(cls.hash, length)

    @classmethod
    def hash(cls, length: int, row: TaskTexts) -> "_HashedTask":
        prompt, output = _list_prompt_tokens(row), _list_tokens(row.output)
        asked, said = _list_prompt_words(row), list_words(row.output)
        return cls(
            hash_distinct_runs([[*asked, *said]], length),
            hash_distinct_runs([prompt, output], length),
            hash_text(" ".join([*prompt, *output])),
            hash_text(_name_prompt(asked)),
            _hash_template(prompt),
            hash_text(_state_answer(asked, said, output)),
        )


class CommonText:
    """What the rows of a pool have in common, and any row without it."""

    def __init__(self, rows: Sequence[TaskTexts], length: int, many: int = MANY) -> None:
        """`length`: of a run, in words (`contamination.ngram`)."""
        many_of_all = max(many, math.ceil(MANY_OF_ALL * len(rows)))
        self._words, self._tokens = RunTable(length, many), RunTable(length, many_of_all)
        prompts, templates, answers = array("Q"), array("Q"), array("Q")
        texts: set[int] = set()
        hashed = map_texts(partial(_HashedTask.build, length), rows)
        for task in track_results(hashed, "common text", len(rows)):
            self._words.add(task.words)
            # Rows that differ in their numbers only are one text: they stay together whatever they share.
            if task.text not in texts:
                texts.add(task.text)
                self._tokens.add(task.tokens)
            prompts.append(task.prompt)
            templates.append(task.template)
            answers.append(task.answer)
        self._words.close()
        self._tokens.close()
        self._number_tasks = _find_number_tasks(prompts, templates, answers, many_of_all)

    def list_own(self, rows: Sequence[TaskTexts]) -> Iterator[str]:
        """`state_own` of each row."""
        return map_texts(partial(_return_it, self.state_own), rows)

    def state_own(self, row: TaskTexts) -> str:
        """The text that a row is compared by: its tokens, numbers blotted out, with one token for each stretch of
        common text.

        An answer is kept whole where less than a run would be left of it: a script with one word replaced is the same
        script, however many have it.
        """
        prompt, output = _list_prompt_tokens(row), _list_tokens(row.output)
        if self._number_tasks and _hash_template(prompt) in self._number_tasks:
            return _name_prompt(_list_prompt_words(row))
        common = self._tokens.mark_common(output)
        kept = output if np.count_nonzero(~common) < self._tokens.length else self._shorten(output, common)
        return " ".join([*self._shorten(prompt, self._tokens.mark_common(prompt)), *kept])

    def _shorten(self, tokens: Sequence[str], common: Flags) -> list[str]:
        """The tokens with the first run of each common stretch, as one token, in the place of the stretch."""
        if not common.any():
            return list(tokens)
        own = []
        for place, covered in enumerate(common.tolist()):
            if not covered:
                own.append(tokens[place])
            elif not place or not common[place - 1]:
                own.append(f"common{hash_text(' '.join(tokens[place : place + self._tokens.length])):x}")
        return own

    def list_runs(self, rows: Sequence[TaskTexts]) -> Iterator[OwnRuns]:
        """`find_runs` of each row."""
        return map_texts(partial(_return_it, self.find_runs), rows)

    def list_holders(self, rows: Sequence[TaskTexts], runs: Hashes) -> Iterator[int]:
        """The places of the rows of which a run, their own or not, is one of the sorted `runs`."""
        held = map_texts(partial(_return_it, partial(self._holds_any, runs)), rows)
        return (place for place, holds in enumerate(held) if holds)

    def find_runs(self, row: TaskTexts) -> OwnRuns:
        """The row's own runs of words."""
        return self._words.find_own(list_words(join_texts(row)))

    def _holds_any(self, runs: Hashes, row: TaskTexts) -> bool:
        """Half the work of `find_runs`."""
        return bool(is_in(hash_runs(list_words(join_texts(row)), self._words.length), runs).any())


def _return_it(function: T) -> T:
    """What builds a function that can go to another process as it is."""
    return function


def _list_tokens(text: str) -> list[str]:
    return split_rouge_tokens(blot_numbers(text))


def _list_prompt_tokens(row: TaskTexts) -> list[str]:
    return _list_tokens(f"{row.instruction} {row.input}")


def _list_prompt_words(row: TaskTexts) -> list[str]:
    return list_words(f"{row.instruction} {row.input}")


def _name_prompt(asked: Sequence[str]) -> str:
    """A token that two rows share if their prompts have the same words and numbers."""
    return f"prompt{hashlib.blake2b(' '.join(asked).encode(), digest_size=16).hexdigest()}"


def _hash_template(prompt: Iterable[str]) -> int:
    """Equal for prompts with the same words, of whatever number: a table has more rows or fewer. 0: no number in it."""
    words = set(prompt)
    return hash_text(" ".join(sorted(words))) if any(word.startswith("0") for word in words) else 0


def _state_answer(asked: Sequence[str], said: Sequence[str], output: Sequence[str]) -> str:
    """The answer, `output` in tokens, without the numbers that it copies from the prompt: what is left of them was
    worked out."""
    copied = set(asked)
    return " ".join([*output, *(word for word in said if word not in copied and word.isdigit())])


def _find_number_tasks(
    prompts: "array[int]", templates: "array[int]", answers: "array[int]", many: int
) -> frozenset[int]:
    """Hashes of the templates that at least `many` different prompts fill in with numbers, to different answers."""
    table = np.unique(np.array([templates, prompts], np.uint64), axis=1)[0] if templates else np.empty(0, np.uint64)
    each, number = np.unique(table, return_counts=True)
    frequent = each[(number >= many) & (each != 0)]
    rows = np.flatnonzero(is_in(np.array(templates, np.uint64), frequent))
    said: dict[int, set[int]] = {}
    for row in rows.tolist():
        if len(known := said.setdefault(templates[row], set())) < 2:
            known.add(answers[row])
    return frozenset(template for template, known in said.items() if len(known) > 1)


def hash_runs(tokens: Sequence[str], length: int) -> Hashes:
    """A hash of each run of `length` tokens, in their order; none where there are too few tokens."""
    runs = len(tokens) - length + 1
    if runs < 1:
        return np.empty(0, np.uint64)
    each = np.fromiter(map(hash_token, tokens), np.uint64, len(tokens))
    return np.convolve(each, _list_powers(length), "valid")


def hash_distinct_runs(parts: Iterable[Sequence[str]], length: int) -> Hashes:
    """Each run once, of parts that no run crosses."""
    return np.unique(np.concatenate([hash_runs(part, length) for part in parts]))


@cache
def _list_powers(length: int) -> Hashes:
    """The weights of a run's last token, of the one before it, and so on."""
    return np.array([pow(_BASE, place, 1 << 64) for place in range(length)], np.uint64)


def is_in(hashes: Hashes, among: Hashes) -> Flags:
    """Which hashes are in the sorted array `among`."""
    if not len(among):
        return np.zeros(len(hashes), np.bool_)
    places = np.minimum(np.searchsorted(among, hashes), len(among) - 1)
    found: Flags = among[places] == hashes
    return found
