"""All that the judge said, as numbers: its preferences, its key facts, and how far both can be trusted.

It is an opinion beside the measurements and decides nothing. Its verdicts on key facts stand next to those by words
(netllama/scoring/open_answers.py), with Cohen's kappa, and its differences have the tests of every other suite.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import mean

import numpy as np

from netllama.core.files import JsonObject
from netllama.core.records import Question
from netllama.judging.pair_verdicts import PairVerdict
from netllama.scoring.comparison import as_rows
from netllama.scoring.open_answers import states_fact
from netllama.scoring.score import Score
from netllama.statistics.agreement import Agreement, measure_agreement
from netllama.statistics.paired_scores import PairedScores, number_clusters
from netllama.statistics.verdicts import SuiteComparison, compare_suites, write_sentences

OPINION = "the judge's opinion: it stands beside the measurements and decides nothing"
PREFERENCES, FACTS = "the judge's preferences", "key facts that the judge finds"
_WORTH = {"tuned": 1.0, "base": 0.0, "tie": 0.5}
"""What a preference is worth to the tuned model."""


@dataclass(frozen=True)
class JudgedPair:
    """A question, its answers' scores, and the judge's verdict; None: it was not asked, for want of money."""

    question: Question
    base: Score
    tuned: Score
    verdict: PairVerdict | None


@dataclass(frozen=True)
class JudgeSummary:
    """What results/judge.json holds."""

    judges: list[str]
    """The model, as its server names it; several where the server changed it on the way."""
    asked: int
    """Questions on which the judge answered in both orders."""
    not_asked: int
    """Questions that judge.max_usd did not pay for."""
    read: int
    """Questions on which both of its answers can be read: all that follows is of these."""
    parse_failures: int
    """Answers that can't be read, of twice `asked`."""
    prefers_base: int
    prefers_tuned: int
    ties: int
    orders_disagree: int
    """Of the ties: in one order another answer is better than in the other."""
    first_preferred: float | None
    """The share of its answers that prefer the answer shown first, whichever it is. None: none can be read."""
    fact_orders_disagree: int
    """Verdicts on a key fact that differ between the orders: such a fact counts as not stated."""
    agreement: Agreement | None
    """Of the judge's verdicts on key facts with those by words."""
    comparisons: list[SuiteComparison]


def compare_judged(pairs: Sequence[JudgedPair]) -> list[SuiteComparison]:
    """Base against tuned as the judge has it: its preferences, and the key facts that it finds; of what it can read."""
    read = [(pair.question, pair.verdict) for pair in pairs if pair.verdict and pair.verdict.is_read]
    suites = []
    if read:
        worth = [_WORTH[verdict.preferred] for _, verdict in read]
        suites.append(_make_suite(PREFERENCES, read, [1 - value for value in worth], worth))
    if facts := [(question, verdict) for question, verdict in read if question.key_facts]:
        base, tuned = ([mean(each) for each in lists] for lists in _list_facts(facts))
        suites.append(_make_suite(FACTS, facts, base, tuned))
    return compare_suites(suites)


def compare_with_words(pairs: Sequence[JudgedPair]) -> Agreement | None:
    """The judge's verdicts on key facts and those by words, of each fact and each model; None where there are none."""
    by_judge: list[bool] = []
    by_words: list[bool] = []
    for pair in pairs:
        if pair.verdict and pair.verdict.is_read:
            for score, found in ((pair.base, pair.verdict.base_facts), (pair.tuned, pair.verdict.tuned_facts)):
                by_judge += found
                by_words += [states_fact(score.answer, fact) for fact in pair.question.key_facts]
    return measure_agreement(by_judge, by_words) if by_judge else None


def summarize_verdicts(pairs: Sequence[JudgedPair]) -> JudgeSummary:
    """All of it; a question counts where the judge can be read in both orders."""
    verdicts = [pair.verdict for pair in pairs if pair.verdict]
    read = [verdict for verdict in verdicts if verdict.is_read]
    orders = [order for verdict in verdicts for order in verdict.orders]
    understood = [order for order in orders if not order.problem]
    preferred = [verdict.preferred for verdict in read]
    firsts = [order.preferred == order.shown_first for order in understood]
    return JudgeSummary(
        judges=sorted({verdict.judge for verdict in verdicts}),
        asked=len(verdicts),
        not_asked=len(pairs) - len(verdicts),
        read=len(read),
        parse_failures=len(orders) - len(understood),
        prefers_base=preferred.count("base"),
        prefers_tuned=preferred.count("tuned"),
        ties=preferred.count("tie"),
        orders_disagree=sum(verdict.orders_disagree for verdict in read),
        first_preferred=mean(firsts) if firsts else None,
        fact_orders_disagree=_count_fact_disagreements(read),
        agreement=compare_with_words(pairs),
        comparisons=compare_judged(pairs),
    )


def as_json(summary: JudgeSummary) -> JsonObject:
    """What results/judge.json holds: numbers to four digits."""
    numbers = asdict(replace(summary, comparisons=[]))
    if agreement := numbers["agreement"]:
        numbers["agreement"] = {key: _round(value) for key, value in agreement.items()}
    numbers |= {"first_preferred": _round(summary.first_preferred), "comparisons": as_rows(summary.comparisons)}
    return {"enabled": True, "is": OPINION, **numbers, "said": write_opinion(summary)}


def write_opinion(summary: JudgeSummary) -> list[str]:
    """The summary in lines, each marked as the judge's."""
    lines = [
        OPINION,
        f"of {summary.read} questions it prefers the tuned model's answer in {summary.prefers_tuned}, the base's in "
        f"{summary.prefers_base}, and neither in {summary.ties} (in {summary.orders_disagree} of them the two orders "
        f"disagree); its answers that can't be read: {summary.parse_failures}",
    ]
    if agreement := summary.agreement:
        kappa = "is not defined" if agreement.kappa is None else f"{agreement.kappa:.2f}"
        share = f"{agreement.share:.2f} of {agreement.items} verdicts on key facts"
        lines.append(f"it agrees with the measure by words in {share}; Cohen's kappa {kappa}")
    if summary.comparisons:
        sentences = write_sentences(summary.comparisons)
        lines += [sentences.better, sentences.worse, sentences.inconclusive]
    return [f"judge: {line}" for line in lines]


def _make_suite(
    name: str, read: Sequence[tuple[Question, PairVerdict]], base: Sequence[float], tuned: Sequence[float]
) -> PairedScores:
    items, clusters = [question.id for question, _ in read], [question.cluster for question, _ in read]
    return PairedScores(name, np.array(base), np.array(tuned), number_clusters(items, clusters))


def _list_facts(read: Sequence[tuple[Question, PairVerdict]]) -> tuple[list[list[bool]], list[list[bool]]]:
    return [verdict.base_facts for _, verdict in read], [verdict.tuned_facts for _, verdict in read]


def _count_fact_disagreements(read: Sequence[PairVerdict]) -> int:
    pairs = [
        pair
        for verdict in read
        for one, other in [verdict.orders]
        for pair in zip(one.base_facts + one.tuned_facts, other.base_facts + other.tuned_facts, strict=True)
    ]
    return sum(one != other for one, other in pairs)


def _round(number: float | None) -> float | None:
    return None if number is None else round(number, 4)
