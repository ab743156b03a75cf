"""What a model card says, read from the metrics of the run that made the model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from netllama.core.errors import StageError
from netllama.core.metrics import read_details
from netllama.core.sections import PromptParams
from netllama.models.training_record import TrainingRecord
from netllama.publishing.base_identity import HubBase
from netllama.publishing.licence_terms import LicenceTerms
from netllama.scoring.refusal_balance import RefusalBalance
from netllama.statistics.verdicts import SuiteComparison

Kind = Literal["adapter", "merged", "gguf"]


class _Numbers(BaseModel):
    """Numbers of a metrics file; those that the card does not quote are not read."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class LeakageNumbers(_Numbers):
    leaked: int
    """Texts of this side that train gives away."""
    max_similarity: float
    """The largest ROUGE-L F1 of such a text to one in train."""


class SplitNumbers(_Numbers):
    rows: dict[str, int]
    """By side: train, val, test."""
    source: dict[str, dict[str, int]]
    """By side, then seed, generated, extra."""
    leakage: dict[str, LeakageNumbers]
    """Of val, test and the questions."""


class _TrainRows(_Numbers):
    rows: int
    """Those that were trained on: tasks of the split, and those with documents."""
    dropped_too_long: int


class TokenizeNumbers(_Numbers):
    train: _TrainRows


class RetrieveNumbers(_Numbers):
    training_tasks: int
    """Tasks with documents: beside those of the split, of train alone."""


class ValLoss(_Numbers):
    before: float
    after: float


class TrainNumbers(_Numbers):
    steps: int
    epochs: float
    trainable_parameters: int
    val_loss: ValLoss | None = None


class _Guessing(_Numbers):
    chance: float


class EvaluateNumbers(_Numbers):
    choice: _Guessing | None = None
    true_false: _Guessing | None = None


M = TypeVar("M", bound=_Numbers)


@dataclass(frozen=True)
class CardFacts:
    repo_id: str
    kind: Kind
    base: HubBase
    terms: LicenceTerms
    families: list[str]
    teacher: str
    """The model that wrote the generated rows."""
    prompt: PromptParams
    fixed_date: str
    """What the chat template is given as today's date; empty: it asks for none."""
    written_prompt: str
    """The prompt of a request that is called REQUEST, if the chat template by itself would not write it; else empty."""
    made_by: TrainingRecord
    split: SplitNumbers
    retrieve: RetrieveNumbers
    tokenize: TokenizeNumbers
    train: TrainNumbers
    comparisons: list[SuiteComparison]
    chances: dict[str, float]
    """What guessing scores, by suite."""
    refusals: RefusalBalance | None
    """None: evaluate asked nothing with documents, or set no bias."""
    gguf_files: list[str]

    @property
    def name(self) -> str:
        return self.repo_id.partition("/")[2]


def read_numbers(path: Path, model: type[M], remedy: str) -> M:
    """Raises StageError that names the file and the key."""
    try:
        return model.model_validate(read_details(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StageError(f"{path}: {where}: {first['msg'].lower()}; run `{remedy}`") from None
