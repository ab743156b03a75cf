"""The model card: README.md of the published repository. The same facts give the same bytes.

The metadata in front of it are those of https://huggingface.co/docs/hub/model-cards: `base_model` with its relation,
the licence, and the results as a model-index.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from netllama.publishing.card_facts import CardFacts
from netllama.report.page import write_headline, write_interval
from netllama.scoring.comparison import LADDER, NAMES
from netllama.statistics.verdicts import SuiteComparison, write_sentences

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

HERE = Path(__file__).parent
_METRICS = {
    NAMES["heldout"]: ("loss", "nats a token"),
    NAMES["choice"]: ("accuracy", "accuracy"),
    NAMES["true_false"]: ("accuracy", "accuracy"),
    NAMES["blank"]: ("exact_match", "share filled in right"),
    NAMES["open"]: ("recall", "share of key facts"),
    NAMES["code"]: ("pass@1", "share that runs and is right"),
    NAMES["generation"]: ("rouge", "ROUGE-L F1"),
    NAMES["report"]: ("accuracy", "share answered right"),
    NAMES["program"]: ("accuracy", "share answered right"),
    LADDER: ("score", "mean rung"),
    "general questions": ("accuracy", "accuracy"),
}
"""The Hub's type of a suite's metric, and its name, by what the suite's name begins with."""
_LIBRARIES = {"adapter": "peft", "merged": "transformers", "gguf": "gguf"}


def build_card(facts: CardFacts) -> str:
    """The whole file: YAML metadata, then Markdown."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=False,  # Markdown, not HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"interval": write_interval, "quote": repr}
    text = environment.get_template("model_card.jinja").render(
        facts=facts,
        base=facts.base,
        terms=facts.terms,
        train=facts.train,
        split=facts.split,
        with_documents=facts.retrieve.training_tasks,
        trained=facts.tokenize.train,
        record=facts.made_by,
        refusals=facts.refusals,
        headline=write_headline(facts.comparisons),
        sentences=write_sentences(facts.comparisons),
        at_chance=[each for each in facts.comparisons if is_at_chance(each, facts.chances)],
    )
    return f"---\n{build_metadata(facts).to_yaml()}\n---\n\n{text}"


def is_at_chance(comparison: SuiteComparison, chances: dict[str, float]) -> bool:
    """Whether the tuned model can't be told from guessing."""
    chance = chances.get(comparison.suite)
    return chance is not None and comparison.tuned.low <= chance <= comparison.tuned.high


def build_metadata(facts: CardFacts) -> "ModelCardData":
    from huggingface_hub import EvalResult, ModelCardData

    results = []
    for each in facts.comparisons:
        known = (found for begin, found in _METRICS.items() if each.suite.startswith(begin))
        metric, name = next(known, ("score", "score"))
        results.append(
            EvalResult(
                task_type="text-generation",
                dataset_type="netllama",
                dataset_name=each.suite,
                # What keeps the suites apart: results that differ in the name alone are put under one of the names.
                dataset_config=re.sub(r"\W+", "-", each.suite.lower()),
                metric_type=metric,
                metric_name=name,
                metric_value=each.tuned.value,
            )
        )
    return ModelCardData(
        language="en",
        license=facts.terms.id,
        library_name=_LIBRARIES[facts.kind],
        pipeline_tag="text-generation",
        base_model=facts.base.id,
        base_model_relation="adapter" if facts.kind == "adapter" else "finetune",
        tags=["lora", *(family.replace("_", "-") for family in facts.families)],
        model_name=facts.name if results else None,
        eval_results=results or None,
    )
