"""The sections of params.yaml, typed and frozen: every key, what it means, which values and combinations it takes.

docs/params.md and docs/params.schema.json are generated from the docstrings below (python -m commands.document_params).
"""

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from netllama.core.param_types import (
    BUNDLED_MODEL,
    NUMBER,
    START,
    Count,
    Names,
    NotNegative,
    Positive,
    PositiveInt,
    Section,
    Seed,
    Share,
    Size,
    Strings,
    Threshold,
    raise_all,
)


class ModelParams(Section):
    """The base model."""

    id: str = Field(min_length=1)
    """Bundled name, Hub id (`org/name`) or local folder."""
    revision: str
    """Hub branch, tag or commit; the stage fetch pins it to a commit. Empty: the default branch."""

    @model_validator(mode="after")
    def _check_revision(self) -> "ModelParams":
        if self.id == BUNDLED_MODEL and self.revision:
            raise ValueError(f"revision is for Hub ids; {BUNDLED_MODEL} is bundled, leave revision empty")
        return self


class LoadingParams(Section):
    """How the base model is loaded, for training and for evaluation alike."""

    precision: Literal["auto", "bf16", "fp16", "fp32"]
    """auto: bf16 where the CUDA device has it, else fp16; on a CPU bf16 where it is the faster one (AMX, AMD's
    AVX512-BF16), else fp32."""
    quantization: Literal["nf4", "int8", "none"]
    """nf4: 4-bit NormalFloat (QLoRA, arXiv 2305.14314); int8: LLM.int8() (arXiv 2208.07339); none: as published."""
    double_quantization: bool
    """nf4 only: quantize the block scales, too."""
    quantized_weights: Literal["auto", "cached", "packed"]
    """cached: dequantize once and keep plain layers of the same values; packed: unpack in every pass, in a quarter of
    the memory. auto: on CUDA cached where nf4 weights fit so with all else (it prints the sum), else packed; on the CPU
    cached for models of up to 3 billion parameters."""


class PromptParams(Section):
    """How a record becomes the text that the model sees, in training and in evaluation alike."""

    template: Literal["chat", "alpaca"]
    """chat: the tokenizer's own chat template; alpaca: the Stanford Alpaca format."""
    system_prompt: str
    """Empty: whatever the template itself puts there."""


class ContaminationParams(Section):
    """When a text counts as too near to an evaluation question, for generate, split and validate alike."""

    similarity_threshold: Threshold
    """At or above this ROUGE-L F1 (numbers and addresses blotted out) to a question, a task is too near to it."""
    ngram: PositiveInt
    """Words of the n-grams that rows and questions, and the sides of the split, are compared by."""


class SplitParams(Section):
    """Seeds, generated and extra instructions into train, val and test."""

    seed: Seed
    """Seed of the hash that places a row on a side."""
    val_size: Size
    """A count (1300) or a share (0.1) of all rows. When rows are added, a share moves no old row, a count a few."""
    test_size: Size
    """As val_size."""
    near_duplicate_threshold: Threshold
    """Rows whose texts are at least this similar (ROUGE-L F1) stay on one side."""
    max_leakage: Annotated[float, Field(ge=0, le=1), NUMBER]
    """The stage fails where a larger share than this of val, of test or of the questions is found in train."""
    extra: Strings
    """Names of files of yours in data/extra/: JSON, JSONL or gzip, in Alpaca's format or another known one."""
    program_tasks: Count
    """Tasks that a program draws from simulated networks, with exact answers, for training alone; 0: none."""

    @model_validator(mode="after")
    def _check_sizes(self) -> "SplitParams":
        shares = [size for size in (self.val_size, self.test_size) if isinstance(size, float)]
        if sum(shares) >= 1:
            raise ValueError("val_size + test_size leave nothing to train on")
        return self


class TokenizeParams(Section):
    """Text to token ids and loss mask."""

    max_length: PositiveInt
    """Tokens of a row, prompt and answer together."""
    over_length: Literal["drop", "raise"]
    """drop: leave a longer row out and list it; raise: end the stage. An answer is never cut."""
    train_on_prompt: bool
    """Train on the prompt's tokens, too, not on the answer's alone."""


class LoraParams(Section):
    """LoRA (arXiv 2106.09685), in PEFT's names. Biases are not trained (PEFT's `bias: none`), and the task type is
    CAUSAL_LM."""

    r: PositiveInt
    """Rank."""
    lora_alpha: PositiveInt
    """The update is scaled by lora_alpha / r."""
    lora_dropout: Share
    """Dropout on the input of the adapter."""
    target_modules: Literal["all-linear"] | Names
    """all-linear, or names of modules such as q_proj."""
    use_rslora: bool
    """Scale by lora_alpha / sqrt(r) instead of lora_alpha / r (arXiv 2312.03732)."""
    use_dora: bool
    """Train magnitude and direction apart (arXiv 2402.09353)."""
    init_lora_weights: Annotated[str, Field(pattern=START)]
    """default: A as nn.Linear, B zero; gaussian: A normal, B zero; pissa: the principal components of the weights
    (arXiv 2404.02948; pissa_niter_N: by randomized SVD in N iterations); loftq: what quantization lost
    (arXiv 2310.08659)."""

    @model_validator(mode="after")
    def _check_initialisation(self) -> "LoraParams":
        if self.init_lora_weights.startswith(("pissa", "loftq")) and self.use_dora:
            raise ValueError(f"use_dora measures the weights before {self.init_lora_weights} sets them; use one")
        if self.init_lora_weights.startswith("pissa") and self.lora_dropout:
            raise ValueError("pissa trains a part of the model itself, which dropout would drop: lora_dropout 0.0")
        return self


class TrainParams(Section):
    """In the names of the Hugging Face TrainingArguments that the seed document uses."""

    seed: Seed
    """Seed of the batches, the adapter's first weights and dropout."""
    max_steps: PositiveInt
    """Updates of the adapter."""
    per_device_train_batch_size: PositiveInt
    """Rows that go through the model together; on a GPU those of a step go in pieces that its memory has room for."""
    per_device_eval_batch_size: PositiveInt
    """The same for validation rows."""
    gradient_accumulation_steps: PositiveInt
    """Batches per update."""
    learning_rate: Positive
    """Of AdamW, at its highest."""
    lr_scheduler_type: Literal["cosine", "linear", "constant", "constant_with_warmup"]
    """transformers' schedules of these names."""
    warmup_ratio: Share
    """Share of max_steps in which the learning rate rises from 0."""
    weight_decay: NotNegative
    """Of AdamW."""
    max_grad_norm: Positive
    """Gradients are clipped to this norm."""
    optim: Literal["adamw_torch_fused", "adamw_torch", "paged_adamw_32bit", "paged_adamw_8bit"]
    """The optimizer; the paged ones of bitsandbytes move their state to the host's memory when a GPU is full."""
    loraplus_lr_ratio: Annotated[float, Field(ge=1), NUMBER]
    """LoRA+ (arXiv 2402.12354): the B matrices learn this many times as fast as the A matrices; 1: off."""
    neftune_noise_alpha: NotNegative
    """NEFTune (arXiv 2310.05914): uniform noise on the embeddings; 0: off."""
    group_by_length: bool
    """Batch rows of similar length, for less padding."""
    gradient_checkpointing: bool
    """Recompute activations in the backward pass: slower, in less memory."""
    logging_steps: PositiveInt
    """Steps between two points of the curves."""
    eval_steps: PositiveInt
    """Steps between two validations."""
    early_stopping_patience: Count
    """Stop after this many validations without a new best, and keep the best adapter; 0: off."""
    save_steps: PositiveInt
    """Steps between two checkpoints in .scratch/; a killed run goes on from the last one."""

    @model_validator(mode="after")
    def _check_steps(self) -> "TrainParams":
        problems = []
        if self.lr_scheduler_type != "constant" and math.ceil(self.max_steps * self.warmup_ratio) >= self.max_steps:
            problems.append(f"warmup_ratio {self.warmup_ratio} of max_steps {self.max_steps} is all warmup")
        if self.early_stopping_patience * self.eval_steps > self.max_steps:
            problems.append("early_stopping_patience * eval_steps is above max_steps: it could never stop")
        raise_all(problems)
        return self


class EvaluateParams(Section):
    """What the base and the tuned model are measured on."""

    batch_size: PositiveInt
    """Test rows that are answered together on a CPU; on a GPU as many as its free memory takes."""
    max_new_tokens: PositiveInt
    """Tokens of a written answer."""
    num_generated: Count
    """Test rows that are answered in full; 0: none."""
    num_open: Count
    """Open questions that are answered in full; 0: none. Closed questions and blanks are all asked."""
    num_reports: Count
    """Questions on network reports that are answered in every arm, and half as many that no report answers; 0: none."""
    num_val_reports: Count
    """Questions on the reports of retrieve.val_networks by which it is decided how readily the tuned model refuses, and
    half as many that no report answers; 0: it refuses as it does by itself."""
    max_false_refusals: Share
    """Share of these questions that may be refused though the document that answers is shown, alone or among those that
    a search finds. The larger, the more often it refuses, rightly and falsely."""
    num_with_documents: Count
    """Four-choice questions on networks that are asked with documents, too; 0: none."""
    listed_permutations: Count
    """Four-choice questions are asked once more with their options in a list, in the first so many of the orders that
    rotation gives, and answered by a letter; 0: not at all."""
    num_code: Count
    """Code questions whose answers are run in the sandbox; 0: none."""
    max_code_tokens: PositiveInt
    """Tokens of an answer to a code question."""
    code_samples: Count
    """Answers to each code question that are drawn at `code_temperature`, besides the greedy one, for pass@1 to pass@k;
    0: none."""
    code_temperature: Annotated[float, Field(gt=0, le=2)]
    """Of these answers: 0.8 for a pass@k of many samples, 0.2 where pass@1 counts (arXiv 2107.03374)."""
    num_programs: Count
    """Tasks that a program draws from simulated networks of which none is trained on; 0: none."""
    code_seconds: Positive
    """Processor seconds that the script in an answer may use on each network."""
    unsafe_code: bool
    """Run these scripts without a sandbox where the machine offers none: with your rights and your files."""


class LaunchParams(Section):
    """How the DAG starts a stage."""

    train: str = Field(min_length=1)
    """What `-m stages.train` follows: `python`, or `accelerate launch --config_file profiles/launch/ddp.yaml` for
    several GPUs."""
