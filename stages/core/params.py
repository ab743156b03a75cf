"""params.yaml as a typed, frozen model: `load_params("lora", "model.precision")`.

The whole file is checked in one go and every problem is reported in one error, each with its key and
the nearest known key. What comes back holds only the sections (or single keys) that were asked for, so
that a stage cannot depend on a param that dvc.yaml does not declare.

Plain scalars and lists only: `dvc exp run -S` rewrites the file, and it writes `1e-05`, which YAML 1.1
reads as a string; `Number` takes it back.
"""

import difflib
from decimal import Decimal, InvalidOperation
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from stages.core.errors import StageError
from stages.core.files import read_text

BUNDLED_MODEL = "smollm2-135m-instruct"


def _number(value: object) -> object:
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Number = Annotated[float, Field(allow_inf_nan=False), BeforeValidator(_number)]
Share = Annotated[Number, Field(ge=0, lt=1)]
PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


def _size(value: object) -> int | float:
    value = _number(value)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, float) and 0 <= value < 1:
        return value
    raise ValueError(f"a count (1300) or a share below 1 (0.1) is expected, not {value!r}")


Size = Annotated[Any, BeforeValidator(_size)]


def _decimal(value: object) -> object:
    """Money as it is written: 0.15 is 0.15, not the binary fraction nearest to it."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return Decimal(str(value))
        except InvalidOperation:
            return value
    return value


Usd = Annotated[Decimal, BeforeValidator(_decimal), Field(ge=0, allow_inf_nan=False)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())


class Model(Section):
    """The base model and how it is loaded, for training and for evaluation alike."""

    id: str = Field(min_length=1)
    """Bundled name, Hub id (`org/name`) or a local folder."""
    revision: str
    """Hub branch, tag or commit; fetch pins it to a commit. Empty: the default branch."""
    precision: Literal["auto", "bf16", "fp16", "fp32"]
    """auto: bf16 where the hardware has it, fp16 on older CUDA, else fp32."""
    quantization: Literal["nf4", "none"]
    """nf4: 4-bit NormalFloat (QLoRA, arXiv 2305.14314)."""
    double_quantization: bool

    @model_validator(mode="after")
    def _revision_needs_a_hub_id(self) -> "Model":
        if self.id == BUNDLED_MODEL and self.revision:
            raise ValueError(f"revision is for Hub ids; {BUNDLED_MODEL} is bundled, leave it empty")
        return self


class Generate(Section):
    """Self-Instruct (arXiv 2212.10560): a pool of tasks grown by a teacher model."""

    families: list[str] = Field(min_length=1)
    """Each is data/prompts/F.txt and data/seeds/F.jsonl."""
    num_instructions_to_generate: Count
    """Kept per family."""
    max_requests: PositiveInt
    """Per family: the run ends there even if the teacher's answers were too poor to reach the number."""
    requests_per_round: PositiveInt
    """Per family: slots that share one frozen pool."""
    num_seed_exemplars: Count
    num_machine_exemplars: Count
    max_exemplar_tokens: PositiveInt
    """All examples of one prompt together, a token taken as four characters: small teachers need it short."""
    seed: int
    base_url: str
    """An OpenAI-compatible server; empty: the embedded teacher on a loopback port."""
    model_name: str = Field(min_length=1)
    api: Literal["chat", "completions"]
    mode: Literal["live", "batch"]
    """batch: a round at a time through the provider's Batch API, at half the price and within a day."""
    output_contract: Literal["blocks", "json_schema"]
    """json_schema: strict structured outputs, where the provider has them; blocks: the numbered list, anywhere."""
    tasks_per_request: PositiveInt
    """What a chat model is asked for; a completion goes on until max_tokens."""
    temperature: Annotated[Number, Field(ge=0, le=2)]
    top_p: Annotated[Number, Field(gt=0, le=1)]
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)]
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)]
    stop: list[str] = Field(max_length=4)
    """Text that ends an answer. Keep it empty: Alpaca's "20." cut answers at an address or a number."""
    max_tokens: PositiveInt
    max_concurrency: PositiveInt
    requests_per_minute: Count
    tokens_per_minute: Count
    """The provider's limits, to stay below them; 0: none."""
    max_retries: Count
    """Of one request, after a fault that may pass (408, 409, 429, 5xx, a lost connection)."""
    request_timeout: Annotated[Number, Field(gt=0)]
    """Seconds for one answer, from the first byte sent to the last byte received."""
    usd_per_million_prompt_tokens: Usd | None
    usd_per_million_completion_tokens: Usd | None
    """The provider's price without its batch discount; null: not known."""
    max_usd: Usd | None
    """What the answers of this stage may cost in all, those of earlier runs included; null: no cap."""
    filters: list[str]
    """In their order (stages/selfinstruct/filters.py); `name@family`: there only, `name@!family`: elsewhere."""
    min_words: Count
    max_words: PositiveInt
    """Window of an instruction's length, in words."""
    blacklist: list[str]
    """Words that no instruction may hold. Empty: "file", "plot" and "map" are words of this domain."""
    required_imports: list[str]
    """`family=module`: Python in an output of that family that uses libraries uses this one; any of several."""
    rouge_threshold: Annotated[Number, Field(gt=0, le=1)]
    """An instruction is rejected above this ROUGE-L F1 to any seed or kept instruction of its family."""
    question_threshold: Annotated[Number, Field(gt=0, le=1)]
    """And above this to any evaluation question."""

    @model_validator(mode="after")
    def _combinations(self) -> "Generate":
        problems = []
        if not self.base_url and self.model_name != BUNDLED_MODEL:
            problems.append(
                f"model_name is {self.model_name!r} and base_url is empty: the embedded teacher is "
                f"{BUNDLED_MODEL}; name that, or set base_url"
            )
        if self.num_seed_exemplars + self.num_machine_exemplars == 0:
            problems.append("num_seed_exemplars and num_machine_exemplars are both 0")
        if self.min_words > self.max_words:
            problems.append(f"min_words {self.min_words} is above max_words {self.max_words}")
        if self.output_contract == "json_schema" and (self.api != "chat" or not self.base_url):
            problems.append(
                "output_contract json_schema needs api: chat and a base_url whose server has it; use blocks"
            )
        if self.mode == "batch" and not self.base_url:
            problems.append("mode batch is a provider's Batch API: set base_url, or use live")
        if self.stop and not self.base_url:
            problems.append("the embedded teacher has no stop")
        prices = (self.usd_per_million_prompt_tokens, self.usd_per_million_completion_tokens)
        if prices.count(None) == 1:
            problems.append("one of usd_per_million_prompt_tokens and usd_per_million_completion_tokens is missing")
        if self.max_usd is not None and None in prices:
            problems.append("max_usd is a cap on what has no price: set both usd_per_million_..._tokens")
        for entry in self.required_imports:
            if not entry.partition("=")[2].isidentifier():
                problems.append(f"required_imports: {entry!r} is not `family=module`")
        if len(set(self.families)) < len(self.families):
            problems.append("families names one twice")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Split(Section):
    """Seeds, generated and extra instructions into train, val and test."""

    seed: int
    val_size: Size
    test_size: Size
    """A count (1300) or a share (0.1) of all rows."""
    near_duplicate_threshold: Annotated[Number, Field(gt=0, le=1)]
    """Rows whose texts are at least this similar (ROUGE-L F1) stay on one side."""
    extra: list[str]
    """Names of Alpaca-format JSON or JSONL files in data/extra/ to add."""

    @model_validator(mode="after")
    def _leaves_rows_to_train_on(self) -> "Split":
        shares = [size for size in (self.val_size, self.test_size) if isinstance(size, float)]
        if sum(shares) >= 1:
            raise ValueError("val_size + test_size leave nothing to train on")
        return self


class Tokenize(Section):
    """Text to token ids and loss mask."""

    template: Literal["chat", "alpaca"]
    """The tokenizer's own chat template, or the Alpaca format."""
    system_prompt: str
    """Empty: what the template itself puts there."""
    max_length: PositiveInt
    """Longer rows are dropped and counted, never cut."""
    train_on_prompt: bool


class Lora(Section):
    """LoRA (arXiv 2106.09685), in PEFT's names."""

    r: PositiveInt
    lora_alpha: PositiveInt
    lora_dropout: Share
    bias: Literal["none", "all", "lora_only"]
    task_type: Literal["CAUSAL_LM"]
    target_modules: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)]


class Train(Section):
    """In the names of the Hugging Face TrainingArguments that the seed document uses."""

    seed: int
    max_steps: PositiveInt
    per_device_train_batch_size: PositiveInt
    per_device_eval_batch_size: PositiveInt
    gradient_accumulation_steps: PositiveInt
    learning_rate: Annotated[Number, Field(gt=0)]
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"]
    warmup_ratio: Share
    weight_decay: Annotated[Number, Field(ge=0)]
    max_grad_norm: Annotated[Number, Field(gt=0)]
    optim: Literal["adamw_torch_fused", "adamw_torch", "paged_adamw_32bit", "paged_adamw_8bit"]
    group_by_length: bool
    gradient_checkpointing: bool
    logging_steps: PositiveInt
    eval_steps: PositiveInt


class Evaluate(Section):
    """What the base and the tuned model are measured on."""

    batch_size: PositiveInt
    max_new_tokens: PositiveInt
    num_generated: Count
    """Test rows that are answered in full; 0: none."""


class Params(Section):
    model: Model
    generate: Generate
    split: Split
    tokenize: Tokenize
    lora: Lora
    train: Train
    evaluate: Evaluate


def read_params(path: str | Path = "params.yaml") -> Params:
    """The whole file, checked. For tests and tools; a stage uses `load_params`."""
    try:
        raw = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        reason = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise StageError(f"{where}: not valid YAML ({reason})") from None
    if not isinstance(raw, dict):
        raise StageError(f"{path}: expected the sections {', '.join(Params.model_fields)}")
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        problems = list(dict.fromkeys(_problem(item) for item in error.errors()))
        raise StageError(f"{path}: " + " | ".join(problems)) from None


def _problem(error: Any) -> str:
    """One line for one pydantic error: the dotted key, what is wrong, what was meant."""
    # A union adds the name of the branch that it tried to the location: keep what is a key of the file.
    keys = [str(part) for part in error["loc"][:2]]
    key = ".".join(keys)
    if error["type"] == "extra_forbidden":
        section = Params.model_fields.get(keys[0])
        known = list(Params.model_fields if len(keys) == 1 else section.annotation.model_fields)  # type: ignore[union-attr]
        near = difflib.get_close_matches(keys[-1], known, n=1, cutoff=0.0)
        return f"{key}: unknown key, nearest known is {'.'.join([*keys[:-1], *near])}"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "value_error":
        return f"{key}: {error['ctx']['error']}"
    if error["type"] == "model_type":
        return f"{key}: a section of keys is expected, not {error['input']!r}"
    if error["type"] == "too_short":
        return f"{key}: the list is empty"
    message = error["msg"][0].lower() + error["msg"][1:]
    return f"{key}: {message}, not {error['input']!r}"


def load_params(*declared: str, path: str | Path = "params.yaml") -> Any:
    """The declared sections (`"lora"`) and keys (`"model.precision"`), and nothing else."""
    params = read_params(path)
    view = SimpleNamespace()
    for name in declared:
        section, _, key = name.partition(".")
        value = getattr(params, section)
        if key:
            partial = getattr(view, section, None) or SimpleNamespace()
            setattr(partial, key, getattr(value, key))
            value = partial
        setattr(view, section, value)
    return view
