"""Two trained models on the same questions: which of them is better in what, and what each gained over the base."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from netllama.comparing.model_answers import RecordedAnswers
from netllama.core.errors import StageError
from netllama.scoring.comparison import Pair, compare_groups, group_pairs
from netllama.scoring.score import Score
from netllama.statistics.verdicts import SuiteComparison


@dataclass(frozen=True)
class SuiteSides:
    """One suite in which three models were measured on the same questions."""

    between: SuiteComparison
    """The other tuned model in the place of the base, and this one."""
    other: SuiteComparison | None
    """The base and the other tuned model; None: the two have not the same base."""
    this: SuiteComparison | None


@dataclass(frozen=True)
class SideBySide:
    """The comparison of two tuned models, and what to know of it."""

    other: str
    this: str
    suites: list[SuiteSides]
    remarks: list[str]
    """What was left out, and where the two were asked or judged in different ways, in sentences."""


def compare_models(other: RecordedAnswers, this: RecordedAnswers) -> SideBySide:
    """Holm's adjustment is over all suites, for each of the three pairs of models by itself.

    StageError where the two were asked no question in common.
    """
    others = {_identify(score): score for score in other.tuned}
    pairs = [(others[key], score) for score in this.tuned if (key := _identify(score)) in others]
    same = [pair for pair in pairs if pair[0].expected == pair[1].expected]
    if not same:
        raise StageError(f"{other.name} and {this.name} were asked no question in common")
    has_one_base = other.weights == this.weights
    gains = [_compare_with_base(side.base, [pair[place] for pair in same]) for place, side in enumerate((other, this))]
    suites = [
        SuiteSides(each, *(gain.get(each.suite) if has_one_base else None for gain in gains))
        for each in compare_groups(group_pairs(same))
    ]
    remarks = [
        *other.remarks,
        *this.remarks,
        *_count(len(other.tuned) - len(pairs), f"of {other.name} alone", "left out"),
        *_count(len(this.tuned) - len(pairs), f"of {this.name} alone", "left out"),
        *_count(len(pairs) - len(same), "to questions whose right answer is not the same", "left out"),
        *_list_documents(other, this, same),
        *_list_params(other, this),
        *_list_code(other, this),
        *(_count(_count_moved(other.base, this.base), "of the base", "not the same for both") if has_one_base else []),
    ]
    if all(before == after for before, after in same):
        remarks.append(f"The two gave the same answers ({len(same)}).")
    if not has_one_base:
        remarks.append(f"Their base models differ: {other.model} and {this.model}.")
    return SideBySide(other.name, this.name, suites, remarks)


def _compare_with_base(base: Iterable[Score], tuned: Sequence[Score]) -> dict[str, SuiteComparison]:
    """By suite."""
    before = {_identify(score): score for score in base}
    pairs: list[Pair] = [(before[_identify(score)], score) for score in tuned if _identify(score) in before]
    return {each.suite: each for each in compare_groups(group_pairs(pairs))}


def _identify(score: Score) -> tuple[str, str, str]:
    return score.kind, score.arm, score.item


def _count(number: int, which: str, what: str) -> list[str]:
    return [f"{number} answer{'s' * (number != 1)} {which} {'is' if number == 1 else 'are'} {what}."] if number else []


def _list_documents(other: RecordedAnswers, this: RecordedAnswers, same: Sequence[Pair]) -> list[str]:
    keys = [(each.arm, each.item) for each, _ in same if each.arm]
    if other.documents is None or this.documents is None:
        return ["It is not known whether both were shown the same documents."] if keys else []
    moved = sum(other.documents.get(key) != this.documents.get(key) for key in keys)
    return [f"The two were shown other documents in {moved} of {len(keys)} answers."] if moved else []


def _count_moved(one: Sequence[Score], other: Sequence[Score]) -> int:
    values = {_identify(score): score.value for score in one}
    return sum(values.get(_identify(score), score.value) != score.value for score in other)


def _list_params(other: RecordedAnswers, this: RecordedAnswers) -> list[str]:
    if other.params is None or this.params is None:
        return ["It is not known whether both were evaluated with the same params and code."]
    keys = sorted(key for key in {*other.params, *this.params} if other.params.get(key) != this.params.get(key))
    changes = [f"{key} {_write_value(other.params, key)} and {_write_value(this.params, key)}" for key in keys]
    return [f"They were evaluated with other params: {', '.join(changes)}."] if changes else []


def _write_value(params: Mapping[str, object], key: str) -> str:
    return str(params[key]) if key in params else "(not there)"


def _list_code(other: RecordedAnswers, this: RecordedAnswers) -> list[str]:
    before, after = other.code or {}, this.code or {}
    changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    is_known = other.code is not None and this.code is not None
    return [f"They were evaluated by other code: {', '.join(changed)}."] if changed and is_known else []
