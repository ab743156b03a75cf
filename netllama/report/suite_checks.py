"""What a verdict is to be read with: the scores without what the training data hold, and what guessing gets."""

from collections.abc import Sequence
from dataclasses import dataclass

from netllama.report.comparison_inputs import SuiteNote
from netllama.scoring.comparison import ALL_HITS, NO_HIT
from netllama.statistics.verdicts import SuiteComparison

GUESSES = {"chance": "drawing an option", "majority": "always the same answer", "longest_option": "the longest option"}
"""Ways to answer without knowledge, by their keys in the comparison."""


@dataclass(frozen=True)
class CleanRow:
    """A suite of which some items share text with the training data."""

    hits: int
    clean: SuiteComparison
    """Of the others."""
    whole: SuiteComparison


@dataclass(frozen=True)
class GuessRow:
    """A suite of closed questions."""

    whole: SuiteComparison
    marks: list[float | None]
    """A score for each of the part's `ways`; None: that way is none here."""


@dataclass(frozen=True)
class SuiteChecks:
    """The part of the page."""

    clean: list[CleanRow]
    remarks: list[str]
    """Why the other suites have no row among `clean`, a sentence for each reason."""
    ways: list[str]
    """The ways of guessing that any suite has."""
    guessing: list[GuessRow]


def make_suite_checks(notes: Sequence[SuiteNote]) -> SuiteChecks:
    """Each list is empty where no suite says anything of its kind."""
    clean = [
        CleanRow(note.whole.items - note.clean.items, note.clean, note.whole)
        for note in notes
        if isinstance(note.clean, SuiteComparison)
    ]
    keys = [key for key in GUESSES if any(key in note.guessing for note in notes)]
    guessing = [GuessRow(note.whole, [note.guessing.get(key) for key in keys]) for note in notes if note.guessing]
    return SuiteChecks(clean, write_remarks(notes), [GUESSES[key] for key in keys], guessing)


def write_remarks(notes: Sequence[SuiteNote]) -> list[str]:
    """Suites by the reason for which they have no comparison of clean items."""
    suites: dict[str, list[str]] = {}
    for note in notes:
        if isinstance(note.clean, str) and note.clean:
            suites.setdefault(note.clean, []).append(note.whole.suite)
    said = {NO_HIT: "There are none in", ALL_HITS: "There are no others in"}
    return [
        f"{said[reason]} {', '.join(own)}." if reason in said else f"Not looked for in {', '.join(own)}: {reason}."
        for reason, own in suites.items()
    ]
