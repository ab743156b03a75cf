"""The params sections `generate` and `filters`: how a family's pool of tasks grows, and which tasks are kept."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, model_validator

from netllama.core.param_types import Count, PositiveInt, Section, Seed, Strings, Threshold, freeze_list, raise_all

FilterName = Literal[
    "empty_field",
    "word_count",
    "markers",
    "prompt_leak",
    "blacklist",
    "echo",
    "repetition",
    "broken_code",
    "required_import",
    "local_path",
    "secret",
    "duplicate_output",
    "near_duplicate",
    "near_question",
    "runs",
    "agrees",
]


class GenerateParams(Section):
    """Self-Instruct (arXiv 2212.10560): how a family's pool of tasks grows."""

    num_instructions_to_generate: Count
    """Instructions to keep per family; 0: train on seeds and extra data alone."""
    max_requests: PositiveInt
    """Requests per family after which the run ends, even if it has kept too few instructions."""
    requests_per_round: PositiveInt
    """Requests per family that are drawn from one frozen state of the pool and sent together."""
    num_seed_exemplars: Count
    """Hand-written examples in each prompt."""
    num_machine_exemplars: Count
    """Machine-made examples in each prompt."""
    max_exemplar_tokens: PositiveInt
    """Length of all examples of one prompt together, at four characters a token: small teachers need it short."""
    output_contract: Literal["blocks", "json_schema"]
    """blocks: numbered blocks, which any teacher can continue; json_schema: strict structured outputs, where the
    server has them."""
    tasks_per_request: PositiveInt
    """Tasks that a chat model is asked for; a completion goes on until teacher.max_tokens."""
    repair_attempts: Count
    """runs: how often the teacher is asked to mend a task whose Python does not hold; 0: such a task is rejected."""
    judge_model: str
    """agrees: the model that answers again and compares, by its name on the teacher's server; empty: the teacher. It is
    counted at the teacher's prices."""
    seed: Seed
    """Seed of the draws of examples. It is this section's own: a new training seed never touches the paid stage."""

    @model_validator(mode="after")
    def _check_exemplars(self) -> "GenerateParams":
        if self.num_seed_exemplars + self.num_machine_exemplars == 0:
            raise ValueError("num_seed_exemplars and num_machine_exemplars are both 0; a prompt needs an example")
        return self


class FilterParams(Section):
    """Which of the teacher's tasks are kept."""

    enabled: Annotated[tuple[FilterName, ...], BeforeValidator(freeze_list)]
    """The filters, in their order: the first that objects is the reason for the rejection. What each one does:
    docs/generating.md."""
    min_words: Count
    """word_count: words of the shortest instruction."""
    max_words: PositiveInt
    """word_count: words of the longest instruction."""
    blacklist: Strings
    """blacklist: words that no instruction may contain. Empty: "file", "plot" and "map" are words of this domain."""
    required_imports: Strings
    """required_import: `family=module`. Python in that family's outputs that imports libraries imports this one; of
    several modules for one family, any will do."""
    rouge_threshold: Threshold
    """near_duplicate: an instruction is rejected above this ROUGE-L F1 to a seed or kept instruction of its family."""

    runs_families: Strings
    """runs: the families whose Python is run; empty: all."""
    agrees_families: Strings
    """agrees: the families that it asks about, three requests a task that all other filters let pass; empty: all."""

    @model_validator(mode="after")
    def _check_combinations(self) -> "FilterParams":
        problems = []
        if "agrees" in self.enabled[:-1]:
            problems.append("enabled: agrees asks about what all other filters let pass; put it last")
        if "runs" in self.enabled and set(self.enabled[self.enabled.index("runs") + 1 :]) - {"agrees"}:
            problems.append("enabled: runs takes the time of a script; put it behind all filters but agrees")
        if self.min_words > self.max_words:
            problems.append(f"min_words {self.min_words} is above max_words {self.max_words}")
        for entry in self.required_imports:
            if not entry.partition("=")[2].isidentifier():
                problems.append(f"required_imports: {entry!r} is not `family=module`")
        raise_all(problems)
        return self
