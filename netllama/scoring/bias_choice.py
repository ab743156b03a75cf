"""How readily the tuned model refuses: as readily as it may without refusing much that a document answers.

Greedy decoding writes the refusal where its first token is the likeliest. How often that is so differs from one
training run to the next by more than most settings change, while how well the logit of that token tells documents that
answer from those that don't differs less. So the balance is not left to luck: on networks that neither training nor the
test has, a bias on that one logit is chosen as a threshold is for any classifier (as sensitive as a given share of
false alarms allows: Neyman and Pearson), and the test is answered with it.

Nor is it left to the model alone. That a document speaks of another cell, or of another hour, is plain to a program
that looks for the question's words, and what it finds moves the bias: by as much as Fisher's linear discriminant
(1936), on the same networks, gives it beside the logit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netllama.core.files import hash_file
from netllama.reading.reading_records import Arm
from netllama.reading.term_coverage import measure_missing
from netllama.rendering.document_texts import REFUSAL
from netllama.rendering.renderer import Renderer
from netllama.scoring.likelihood import weigh_first_tokens
from netllama.scoring.reading_scores import ReadingMaterial, render_reports
from netllama.scoring.refusal_balance import WEIGHTS, RefusalBalance

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

ARMS: tuple[Arm, ...] = ("oracle", "retrieved", "distractors", "absent")
"""What is asked: with the document that answers, with what a search finds, and with look-alikes alone."""


def choose_bias(answered: Sequence[float], most_false: float) -> float:
    """The largest bias with which at most the share `most_false` of what a document answers is refused.

    `answered`: of each such question, by how much the refusal's first token exceeds any other. The bias lies halfway
    between the last question that is refused with it and the first one that is not.
    """
    ranked = sorted(answered, reverse=True)
    allowed = int(most_false * len(ranked))
    refused = ranked[allowed - 1] if allowed else ranked[0] + 2.0
    kept = ranked[allowed] if allowed < len(ranked) else ranked[-1] - 2.0
    return -(refused + kept) / 2


def choose_missing_weight(weights: Sequence[float], missing: Sequence[float], lacks: Sequence[bool]) -> float:
    """What `missing` (0 to 1) is to be multiplied by to be added to `weights`, if these are to say what documents lack.

    `lacks`: whether they lack the answer. 0 where it says nothing, or where there is nothing to learn that from.
    """
    columns, lacking = np.array([weights, missing], dtype=np.float64), np.array(lacks, dtype=bool)
    if min(lacking.sum(), (~lacking).sum()) < 2:
        return 0.0
    # The direction in which the two kinds lie farthest apart, by their spread within each.
    within = np.cov(columns[:, lacking]) + np.cov(columns[:, ~lacking])
    apart = columns[:, lacking].mean(axis=1) - columns[:, ~lacking].mean(axis=1)
    by_weight, by_missing = (np.linalg.pinv(within) @ apart).tolist()
    return max(0.0, by_missing / by_weight) if by_weight > 0 else 0.0


def balance_refusals(
    model: "LanguageModel", material: ReadingMaterial, renderer: Renderer, most_false: float, adapter: Path
) -> RefusalBalance | None:
    """The bias for this model, by questions of validation; None where there are none.

    `most_false`: the share that may be refused of the questions whose document is shown, alone or among those that a
    search finds: what is measured as false refusals on the test.
    """
    asked = render_reports(material, renderer, ARMS)
    holds = [bool(set(each.row.golden) & set(each.row.arms[each.arm])) for each in asked]
    if not any(holds):
        return None
    token = int(renderer.tokenizer.encode(REFUSAL, add_special_tokens=False)[0])
    weights = weigh_first_tokens(model, [each.prompt for each in asked], token, "refusals")
    missing = [measure_missing(each.row.question, each.shown) for each in asked]
    by_missing = round(choose_missing_weight(weights, missing, [not held for held in holds]), 4)
    both = [weight + by_missing * share for weight, share in zip(weights, missing, strict=True)]
    bias = round(choose_bias([weight for weight, held in zip(both, holds, strict=True) if held], most_false), 4)

    def share_refused(values: Sequence[float], limit: float, held: bool) -> float:
        asked_so = [value for value, other in zip(values, holds, strict=True) if other == held]
        return round(sum(value > limit for value in asked_so) / max(1, len(asked_so)), 4)

    return RefusalBalance(
        adapter=hash_file(adapter / WEIGHTS),
        token=token,
        bias=bias,
        missing_weight=by_missing,
        told_apart=_tell_apart(both, holds),
        told_apart_by_model=_tell_apart(weights, holds),
        told_apart_by_terms=_tell_apart(missing, holds),
        answered=sum(holds),
        false_refusals=share_refused(both, -bias, True),
        false_refusals_without=share_refused(weights, 0.0, True),
        unanswered=len(holds) - sum(holds),
        right_refusals=share_refused(both, -bias, False),
        right_refusals_without=share_refused(weights, 0.0, False),
    )


def _tell_apart(values: Sequence[float], holds: Sequence[bool]) -> float:
    """Area under the ROC curve: how often a value is higher where no document holds the answer than where one does."""
    found, held = np.array(values), np.array(holds, dtype=bool)
    lacking, holding = found[~held, None], found[held]
    if not lacking.size:
        return 0.5
    return round(float(((lacking > holding) + 0.5 * (lacking == holding)).mean()), 4)
