"""How readily the tuned model refuses: as readily as it may without refusing much that a document answers.

Greedy decoding writes the refusal where its first token is the likeliest. How often that is so differs from one
training run to the next by more than most settings change, while how well the logit of that token tells documents that
answer from those that don't differs less. So the balance is not left to luck: on networks that neither training nor the
test has, a bias on that one logit is chosen as a threshold is for any classifier (as sensitive as a given share of
false alarms allows: Neyman and Pearson), and the test is answered with it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from netllama.core.files import hash_file
from netllama.reading.reading_records import Arm
from netllama.rendering.document_texts import REFUSAL
from netllama.rendering.renderer import Renderer
from netllama.scoring.likelihood import weigh_first_tokens
from netllama.scoring.reading_scores import ReadingMaterial, render_reports
from netllama.scoring.refusal_balance import WEIGHTS, RefusalBalance

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

ARMS: tuple[Arm, ...] = ("oracle", "retrieved", "absent")
"""What is asked: with the document that answers, and as a user asks, with what a search finds."""


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
    answered = [weight for weight, held in zip(weights, holds, strict=True) if held]
    unanswered = [weight for weight, held in zip(weights, holds, strict=True) if not held]
    bias = round(choose_bias(answered, most_false), 4)
    return RefusalBalance(
        adapter=hash_file(adapter / WEIGHTS),
        token=token,
        bias=bias,
        answered=len(answered),
        false_refusals=_share_above(answered, -bias),
        false_refusals_without=_share_above(answered, 0.0),
        unanswered=len(unanswered),
        right_refusals=_share_above(unanswered, -bias),
        right_refusals_without=_share_above(unanswered, 0.0),
    )


def _share_above(weights: Sequence[float], limit: float) -> float:
    return round(sum(weight > limit for weight in weights) / max(1, len(weights)), 4)
