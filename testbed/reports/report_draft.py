"""Drafts of reports: all that is known of a subject, and which of it the report states."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from testbed.reports.report_catalogue import KINDS
from testbed.reports.report_kind import QuestionType, ReportKind
from testbed.reports.report_records import Absence, Report, Side
from testbed.reports.report_wording import Fields, choose, draw_number, fill_wording, list_fields
from testbed.reports.reported_network import simulate_network

DRAFTS = 48
"""Reports of a kind and network that questions and look-alikes are drawn from."""
UNWRITTEN = 0.15
"""Share of drafts that are left out of the set: questions about them have no golden report."""
INCOMPLETE = 0.3
"""Share of reports that leave out one group of facts."""


@dataclass(frozen=True)
class ReportDraft:
    """All that is known of a report's subject, and which facts the report states."""

    id: str
    kind: ReportKind
    network: str
    facts: Fields
    most_tokens: int
    """Of the report, as `estimate_tokens` counts."""

    @cached_property
    def is_written(self) -> bool:
        return self._draw("written") >= UNWRITTEN

    @cached_property
    def groups(self) -> list[tuple[str, ...]]:
        """The groups of wordings that the report uses, in an order of its own; fewer where they would be too long."""
        groups = [group for group in self.kind.groups if list_fields(group[0]) <= self.facts.keys()]
        groups.sort(key=lambda group: draw_number(self.id, "order", group[0]))
        if len(groups) > 1 and self._draw("incomplete") < INCOMPLETE:
            groups.pop()
        while len(groups) > 1 and estimate_tokens(self._write(groups)) > self.most_tokens:
            groups.pop()
        return groups

    @property
    def fits(self) -> bool:
        return estimate_tokens(self.report) <= self.most_tokens

    @cached_property
    def stated(self) -> Fields:
        """The facts that the report states."""
        names = {*self.kind.subject, *(name for group in self.groups for name in list_fields(group[0]))}
        return {name: value for name, value in self.facts.items() if name in names}

    @cached_property
    def subject(self) -> tuple[str, ...]:
        return get_subject(self.kind, self.facts)

    @cached_property
    def report(self) -> Report:
        return self._write(self.groups)

    @cached_property
    def words(self) -> frozenset[str]:
        """The words of the report's text, AS numbers, prefixes and times among them, without punctuation."""
        return frozenset(word.strip(".,:;()") for word in self.report.text.split())

    def _write(self, groups: Sequence[tuple[str, ...]]) -> Report:
        """The opening and a sentence for each group."""
        wordings = [choose(same, self.id, same[0]) for same in (self.kind.openings, *groups)]
        title = fill_wording(choose(self.kind.titles, self.id, "title"), self.facts)
        text = " ".join(fill_wording(wording, self.facts) for wording in wordings)
        return Report(self.id, self.kind.name, title, text)

    def _draw(self, what: str) -> float:
        return draw_number(self.id, what) / 2**64


@dataclass(frozen=True)
class QuestionCandidate:
    """A question that could be asked of a draft."""

    draft: ReportDraft
    type: QuestionType
    named: Fields
    answer: str
    """What the draft knows, whether its report states it or not."""

    @property
    def absence(self) -> Absence:
        if not self.draft.is_written:
            return "report"
        return "" if compute_answer(self.type, self.draft.stated, self.named) is not None else "fact"

    @property
    def order(self) -> int:
        return draw_number(self.draft.id, self.type.name, "candidate")


def estimate_tokens(report: Report) -> int:
    """About how many tokens a small model's tokenizer makes of a report: it cuts numbers into digits, names in pieces.

    Of the default's tokenizer there are at most 8 % more in a long report.
    """
    return len(re.findall(r"\d|[A-Za-z]{1,4}|[^\w\s]", f"{report.title} {report.text}"))


def get_subject(kind: ReportKind, facts: Fields) -> tuple[str, ...]:
    return tuple(facts[name] for name in kind.subject)


def compute_answer(asked: QuestionType, fields: Fields, named: Fields) -> str | None:
    """The answer from a report's fields and those that the question names; None if they hold none."""
    if not fields.keys() >= set(asked.needs):
        return None
    try:
        return asked.compute({**fields, **named})
    except KeyError:  # the table has no row of that name
        return None


def list_candidates(draft: ReportDraft) -> list[QuestionCandidate]:
    """One question of each type that the draft can answer."""
    result = []
    for asked in draft.kind.types:
        if not draft.facts.keys() >= set(asked.needs):
            continue
        named = [(each, compute_answer(asked, draft.facts, each)) for each in asked.list_asked(draft.facts)]
        options = [(each, answer) for each, answer in named if answer is not None]
        if options:
            result.append(QuestionCandidate(draft, asked, *choose(options, draft.id, asked.name)))
    return result


class DrawnSubject(NamedTuple):
    """What a report of a kind is about, and all that is known of it: what a process hands to another."""

    kind: str
    number: int
    """Among those of its kind and network."""
    facts: Fields


def draw_subjects(side: Side, key: str) -> list[DrawnSubject]:
    """For each kind the first subjects by hash of a part of them, so that look-alikes stay together.

    What happened twice to one subject is left out: a question could not tell which is meant. It takes one to two
    seconds, most of which are the network's simulation.
    """
    network = simulate_network(side, key)
    subjects = []
    for kind in KINDS:
        drawn = [(get_subject(kind, each), each) for each in kind.draw_facts(network)]
        counts = Counter(subject for subject, _ in drawn)
        facts = {subject: each for subject, each in drawn if counts[subject] == 1}
        order = sorted(facts, key=lambda subject: (draw_number(key, subject[0]), draw_number(key, *subject)))
        subjects += [DrawnSubject(kind.name, number, facts[each]) for number, each in enumerate(order[:DRAFTS])]
    return subjects


def make_drafts(side: Side, key: str, subjects: Sequence[DrawnSubject], most_tokens: int) -> list[ReportDraft]:
    """A draft of each of the network's subjects that can be told in so many tokens."""
    kinds = {kind.name: kind for kind in KINDS}
    drafts = [
        ReportDraft(f"{side}-{key}-{each.kind}-{each.number:02}", kinds[each.kind], key, each.facts, most_tokens)
        for each in subjects
    ]
    return [draft for draft in drafts if draft.fits]
