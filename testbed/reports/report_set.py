"""Makes a report set: reports of simulated networks, questions with exact answers, and for each its look-alikes.

The sets for training and for the test share no names, AS numbers and prefixes. Validation and test ask most of their
questions in wordings of their own.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

from netllama.core.cores import count_cores
from netllama.core.worker_pool import map_in_order
from testbed.reports.answer_balance import balance_answers
from testbed.reports.report_catalogue import KINDS
from testbed.reports.report_draft import (
    DrawnSubject,
    QuestionCandidate,
    ReportDraft,
    compute_answer,
    draw_subjects,
    list_candidates,
    make_drafts,
)
from testbed.reports.report_records import Part, ReportQuestion, ReportSet, Side
from testbed.reports.report_wording import choose, draw_number, fill_wording

ABSENT_SHARE = 0.125
"""Questions without a report, and questions for a fact that the report leaves out, each for one answerable question."""
KNOWN_SHARE = 0.25
"""Share of the questions of validation and test that are in wordings of the training."""
MOST_TOKENS = 140
"""Of a report with all that it states."""
PARALLEL_NETWORKS = 6
"""From this many on worker processes pay, which take a second to start."""
SAME_KIND, OTHER_KINDS = 6, 2
"""How many distractors a question has: more of other kinds where fewer of the same kind mislead."""


def make_report_set(
    seed: int,
    networks: int,
    part: Part = "train",
    per_type: int = 1,
    most_tokens: int = MOST_TOKENS,
) -> ReportSet:
    """The set of `networks` simulated networks of a seed for `part`: a function of the arguments alone.

    Each type of question is asked up to `per_type` times for each network, and a quarter as often without an answer in
    the set. A report has about `most_tokens` tokens at most; it states less where it would have more, and a subject
    that can't be told so shortly has none. It takes one to two seconds for each network, and of many networks each core
    simulates some.
    """
    side: Side = "test" if part == "test" else "train"
    prefix = f"{seed}-val" if part == "val" else str(seed)
    drawn = _draw_drafts(side, [f"{prefix}-{number}" for number in range(networks)], most_tokens)
    drafts = list({(draft.kind.name, draft.subject): draft for draft in drawn}.values())
    by_network: dict[str, list[ReportDraft]] = defaultdict(list)
    for draft in drafts:
        by_network[draft.network].append(draft)
    questions: list[ReportQuestion] = []
    for kind in KINDS:
        candidates = [each for draft in drafts if draft.kind is kind for each in list_candidates(draft)]
        for asked in kind.types:
            same = sorted((each for each in candidates if each.type is asked), key=lambda each: each.order)
            quota = per_type * networks
            there = [each for each in same if not each.absence]
            indices = balance_answers([each.answer for each in there], quota, asked.choices)
            chosen = [there[index] for index in indices]
            for absence in ("report", "fact"):
                absent = [each for each in same if each.absence == absence]
                chosen += absent[: _round_share(ABSENT_SHARE * quota, seed, kind.name, asked.name, absence)]
            questions += [_write_question(each, by_network[each.draft.network], part) for each in chosen]
    used = {name for question in questions for name in (*question.golden, *question.distractors)}
    return ReportSet(tuple(draft.report for draft in drafts if draft.id in used), tuple(questions))


def _draw_drafts(side: Side, keys: Sequence[str], most_tokens: int) -> list[ReportDraft]:
    workers = count_cores() if len(keys) >= PARALLEL_NETWORKS else 1
    subjects = map_in_order(_get_drawer, [(side, key) for key in keys], workers)
    drawn = zip(keys, subjects, strict=True)
    return [draft for key, own in drawn for draft in make_drafts(side, key, own, most_tokens)]


def _get_drawer() -> Callable[[Side, str], list[DrawnSubject]]:
    return draw_subjects


def _round_share(number: float, *key: object) -> int:
    """The number, rounded up as often as its fraction says."""
    return int(number + draw_number(*key, "rounded") / 2**64)


def _write_question(candidate: QuestionCandidate, drafts: Sequence[ReportDraft], part: Part) -> ReportQuestion:
    draft, asked, absence = candidate.draft, candidate.type, candidate.absence
    key = f"{draft.id}-{asked.name}"
    known = part == "train" or draw_number(key, "known") / 2**64 < KNOWN_SHARE
    asker: Part = "train" if known else part
    scope = fill_wording(choose(draft.kind.list_scopes(asker), key, "scope"), draft.facts)
    return ReportQuestion(
        id=key,
        kind=draft.kind.name,
        type=asked.name,
        question=fill_wording(choose(asked.list_wordings(asker), key, "wording"), {**candidate.named, "scope": scope}),
        answer="" if absence else candidate.answer,
        golden=() if absence else (draft.id,),
        distractors=_list_distractors(candidate, key, drafts),
        difficulty=asked.difficulty,
        absence=absence,
        known_wording=known,
        choices=asked.choices,
    )


def _list_distractors(candidate: QuestionCandidate, key: str, drafts: Sequence[ReportDraft]) -> tuple[str, ...]:
    draft = candidate.draft
    others = [each for each in drafts if each.is_written and each is not draft and not _is_about(each, draft)]
    same = sorted(
        (each for each in others if each.kind is draft.kind and _misleads(each, candidate)),
        key=lambda each: (-_count_shared(each, draft), draw_number(key, each.id)),
    )
    rest = sorted(
        (each for each in others if each.kind is not draft.kind),
        key=lambda each: draw_number(key, each.id),
    )
    lacking = [draft] if candidate.absence == "fact" else []
    chosen = [*lacking, *same][:SAME_KIND]
    chosen += rest[: SAME_KIND + OTHER_KINDS - len(chosen)]
    return tuple(each.id for each in chosen)


def _is_about(other: ReportDraft, draft: ReportDraft) -> bool:
    """Whether the other report names all that the draft is about."""
    return other.words.issuperset(draft.subject)


def _misleads(other: ReportDraft, candidate: QuestionCandidate) -> bool:
    """Whether a report of the same kind states what is asked of its own subject, with another answer."""
    asked = candidate.type
    if not other.stated.keys() >= set(asked.needs):
        return False
    return bool(asked.choices) or compute_answer(asked, other.stated, candidate.named) != candidate.answer


def _count_shared(one: ReportDraft, other: ReportDraft) -> int:
    return sum(a == b for a, b in zip(one.subject, other.subject, strict=True))
