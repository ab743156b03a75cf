"""How readily the tuned model refuses: what evaluate found and wrote, and `ask` and the report read."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from netllama.core.errors import StageError
from netllama.core.files import hash_file, read_json
from netllama.core.records import Record
from netllama.reading.term_coverage import measure_missing
from netllama.scoring.first_bias import FirstBias

WEIGHTS = "adapter_model.safetensors"


class RefusalBalance(Record):
    """results/refusals.json: the bias, and what it does on the networks that it was chosen on.

    Of two things that tell documents with an answer from those without one, the model's own logit and the question's
    terms, each sees what the other overlooks. The numbers named told_apart are areas under a ROC curve: 0.5 is a guess.
    """

    adapter: str
    """SHA-256 of the weights that it is for."""
    token: int
    """The first of the refusal."""
    bias: float
    """What is added to its logit where it would be the first of an answer."""
    missing_weight: float
    """What is added beside it, times the share of the question's terms that each document lacks (`measure_missing`)."""
    told_apart: float
    told_apart_by_model: float
    told_apart_by_terms: float
    answered: int
    """Questions with the document that answers, alone or among those that a search finds: one in both ways is two."""
    false_refusals: float
    """Share of them that are refused with the bias."""
    false_refusals_without: float
    unanswered: int
    """Questions whose document was not shown, or that none answers."""
    right_refusals: float
    right_refusals_without: float

    def weigh(self, question: str, documents: Sequence[str]) -> FirstBias:
        """For the answer to `question` from the texts of `documents`."""
        missing = measure_missing(question, documents)
        return FirstBias(self.token, round(self.bias + self.missing_weight * missing, 4))

    def describe(self) -> str:
        """A line for the terminal."""
        return (
            f"refusals: {self.bias:+.2f} on the logit that opens one, and {self.missing_weight:.2f} more where no "
            "document has any word of the question; on networks of validation it refuses "
            f"{self.false_refusals:.0%} of {self.answered} questions with the document that answers "
            f"(without it {self.false_refusals_without:.0%}), and {self.right_refusals:.0%} of {self.unanswered} "
            f"without one ({self.right_refusals_without:.0%})"
        )


def read_balance(path: Path) -> RefusalBalance | None:
    """What evaluate wrote to `path`; None where it has written nothing, or that there is none."""
    if not path.is_file():
        return None
    found = read_json(path)
    if isinstance(found, dict) and set(found) == {"none"}:
        return None
    try:
        return RefusalBalance.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StageError(f"{path}: {where}: {first['msg'].lower()}; run `dvc repro -f evaluate`") from None


def find_balance(path: Path, adapter: Path) -> RefusalBalance | None:
    """That of the adapter in this folder; None where evaluate has not yet measured it."""
    balance = read_balance(path)
    return balance if balance and balance.adapter == hash_file(adapter / WEIGHTS) else None
