"""The sections of params.yaml, typed and frozen: every key, what it means, which values and combinations it takes.

A value is what YAML made of the file, or of what `dvc exp run -S` wrote into it: `1e-05` is a string to YAML 1.1;
`Number` takes it back.
"""

import math
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

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
    quantization: Literal["nf4", "int8", "none"]
    """nf4: 4-bit NormalFloat (QLoRA, arXiv 2305.14314); int8: LLM.int8() (arXiv 2208.07339); none: as published."""
    double_quantization: bool
    """nf4 only: the scales of the blocks are quantized as well."""
    quantized_weights: Literal["auto", "cached", "packed"]
    """cached: dequantized once, the same numbers in plain layers; packed: unpacked in every pass, in a quarter of the
    memory. auto: packed on CUDA, cached on the CPU for models of up to 3 billion parameters."""

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
    """In their order (selfinstruct/candidate_filters.py); `name@family`: there only, `name@!family`: elsewhere."""
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
    """A count (1300) or a share (0.1) of all rows. When rows are added, a share moves no old one, a count a few."""
    near_duplicate_threshold: Annotated[Number, Field(gt=0, le=1)]
    """Rows whose texts are at least this similar (ROUGE-L F1) stay on one side."""
    group_by_lineage: bool
    """A generated row stays on the side of the seeds that its teacher was shown."""
    leakage_ngram: PositiveInt
    """Words of the n-grams that the leakage report compares train with val, test and the questions by."""
    max_leakage: Annotated[Number, Field(ge=0, le=1)]
    """The stage fails where a larger share than this of val, of test or of the questions is found in train."""
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
    over_length: Literal["drop", "raise", "shorten_input"]
    """A longer row is dropped and counted, ends the stage, or loses the end of its input; an answer is never cut."""
    train_on_prompt: bool


class Lora(Section):
    """LoRA (arXiv 2106.09685), in PEFT's names."""

    r: PositiveInt
    lora_alpha: PositiveInt
    lora_dropout: Share
    bias: Literal["none"]
    task_type: Literal["CAUSAL_LM"]
    target_modules: Literal["all-linear"] | Annotated[list[str], Field(min_length=1)]
    use_rslora: bool
    """Scale by lora_alpha / sqrt(r) instead of lora_alpha / r (arXiv 2312.03732)."""
    use_dora: bool
    """Magnitude and direction apart (arXiv 2402.09353)."""
    init_lora_weights: Annotated[str, Field(pattern=r"^(default|gaussian|pissa|pissa_niter_[1-9][0-9]*|loftq)$")]
    """default: A as nn.Linear, B zero; pissa: principal components of the weights (arXiv 2404.02948; niter_N: by
    randomized SVD of N iterations); loftq: of what quantization lost (arXiv 2310.08659)."""

    @model_validator(mode="after")
    def _start_fits(self) -> "Lora":
        if self.init_lora_weights.startswith(("pissa", "loftq")) and self.use_dora:
            raise ValueError(f"use_dora measures the weights before {self.init_lora_weights} sets them; use one")
        if self.init_lora_weights.startswith("pissa") and self.lora_dropout:
            raise ValueError("pissa trains a part of the model itself, which dropout would drop: lora_dropout 0.0")
        return self


class Train(Section):
    """In the names of the Hugging Face TrainingArguments that the seed document uses."""

    seed: int
    max_steps: PositiveInt
    per_device_train_batch_size: PositiveInt
    max_tokens_per_batch: Count
    """Batches of at most this many tokens, padding included, instead of a fixed number of rows; 0: off."""
    per_device_eval_batch_size: PositiveInt
    gradient_accumulation_steps: PositiveInt
    learning_rate: Annotated[Number, Field(gt=0)]
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"]
    warmup_ratio: Share
    weight_decay: Annotated[Number, Field(ge=0)]
    max_grad_norm: Annotated[Number, Field(gt=0)]
    optim: Literal["adamw_torch_fused", "adamw_torch", "paged_adamw_32bit", "paged_adamw_8bit"]
    loraplus_lr_ratio: Annotated[Number, Field(ge=1)]
    """LoRA+ (arXiv 2402.12354): the B matrices learn this many times as fast as the A matrices; 1: off."""
    neftune_noise_alpha: Annotated[Number, Field(ge=0)]
    """NEFTune (arXiv 2310.05914): uniform noise on the embeddings; 0: off."""
    group_by_length: bool
    gradient_checkpointing: bool
    """Recompute activations in the backward pass: slower, in less memory."""
    logging_steps: PositiveInt
    eval_steps: PositiveInt
    early_stopping_patience: Count
    """Stop after this many validations without a new best, and keep the best adapter; 0: off."""
    save_steps: PositiveInt
    """Steps between checkpoints in .scratch/; a killed run goes on from the last one."""

    @model_validator(mode="after")
    def _can_learn_and_stop(self) -> "Train":
        problems = []
        if self.lr_scheduler_type != "constant" and math.ceil(self.max_steps * self.warmup_ratio) >= self.max_steps:
            problems.append(f"warmup_ratio {self.warmup_ratio} of max_steps {self.max_steps} is all warmup")
        if self.early_stopping_patience * self.eval_steps > self.max_steps:
            problems.append("early_stopping_patience * eval_steps is above max_steps: it could never stop")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class Evaluate(Section):
    """What the base and the tuned model are measured on."""

    batch_size: PositiveInt
    max_new_tokens: PositiveInt
    num_generated: Count
    """Test rows that are answered in full; 0: none."""


class Launch(Section):
    """How the DAG starts a stage. `accelerate launch --config_file F` runs train on several GPUs."""

    train: str = Field(min_length=1)
    """What `-m stages.train` follows: `python`, or `accelerate launch --config_file profiles/launch/ddp.yaml`."""
