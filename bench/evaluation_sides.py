"""The sides of bench/evaluate.py: closed questions by lm-eval and by ours, answers by transformers and by ours.

All use the bundled model without quantization, the same token ids and as many threads as there are cores. Every clock
begins when the model is loaded and the texts are tokenized.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netllama.core.records import Question, load_questions
from netllama.core.sections import BUNDLED_MODEL, LoadingParams, PromptParams
from netllama.rendering.renderer import Renderer, load_renderer
from netllama.scoring.prompt_lookup import MOST_DRAFTS

QUESTIONS = Path("data/questions")
HARNESS_BATCH = 16
"""Of lm-eval, in texts. It keeps the logits of all their tokens, twice: of 16 texts of 90 tokens 570 MB in fp32."""
ANSWER_BATCH = 24
"""As `evaluate.batch_size` of params.yaml."""
ANSWER_TOKENS = 128
"""As `evaluate.max_new_tokens` of params.yaml."""
ALONE = 8
"""Prompts that are answered one at a time."""


@dataclass
class EvaluatedSide:
    """What one side found, and how fast."""

    seconds: float
    items: int
    """Questions, or tokens of answers."""
    log_likelihoods: list[list[float]] = field(default_factory=list)
    """By question, of its options."""
    accuracy: float = 0.0
    answers: list[list[int]] = field(default_factory=list)
    """Token ids to the end-of-sequence token, in the order of the prompts."""


def read_clock() -> float:
    """Seconds: of the processor where one thread computes, so that other work on the machine does not count."""
    import torch

    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def find_model() -> Path:
    from netllama.models.model_reference import resolve_model

    return resolve_model(BUNDLED_MODEL, "").folder


def load_ours(precision: str) -> Any:
    """The model as the stages baseline and evaluate load it, but not quantized."""
    from netllama.models.loading import load_base

    return load_base(
        find_model(),
        LoadingParams(precision=precision, quantization="none", double_quantization=False, quantized_weights="auto"),
    )


def load_theirs(precision: str) -> Any:
    """The model as transformers loads it."""
    from transformers import AutoModelForCausalLM

    from netllama.cpu_layers.limits import limit_cpu_use
    from netllama.models.precision import choose_precision

    limit_cpu_use()
    return AutoModelForCausalLM.from_pretrained(find_model(), dtype=choose_precision(precision)).eval()


def make_renderer() -> Renderer:
    return load_renderer(find_model(), PromptParams(template="chat", system_prompt=""))


def choose_questions(kinds: Sequence[str], number: int) -> list[Question]:
    """`number` questions of these kinds by the hash of their ids."""
    own = [question for question in load_questions(QUESTIONS) if question.kind in kinds]
    return sorted(own, key=lambda question: hashlib.sha256(question.id.encode()).digest())[:number]


def list_prompts(number: int, renderer: Renderer) -> list[list[int]]:
    """Token ids of open and code questions."""
    from netllama.rendering.question_texts import phrase_question

    asked = choose_questions(("open", "code"), number)
    return [renderer.encode_prompt(phrase_question(question)) for question in asked]


def score_by_ours(number: int, precision: str) -> EvaluatedSide:
    """Closed questions as the stages score them."""
    from netllama.scoring.choice import render_question
    from netllama.scoring.likelihood import score_continuations

    questions, renderer, model = (
        choose_questions(("choice", "true_false"), number),
        make_renderer(),
        load_ours(precision),
    )
    texts = [render_question(question, renderer) for question in questions]
    start = read_clock()
    found = score_continuations(model, texts, desc="ours")
    return judge_side(read_clock() - start, questions, found)


def score_by_harness(number: int, precision: str, batch_size: int = HARNESS_BATCH) -> EvaluatedSide:
    """The same token ids by lm-evaluation-harness.

    It gets ids, not texts: from texts it would take the newline at the end of a prompt for a part of the option.
    """
    from lm_eval.models.huggingface import HFLM

    from netllama.scoring.choice import render_question

    questions, renderer = choose_questions(("choice", "true_false"), number), make_renderer()
    tokenizer: Any = renderer.tokenizer
    model = HFLM(pretrained=load_theirs(precision), tokenizer=tokenizer, device="cpu", batch_size=batch_size)
    texts = [render_question(question, renderer) for question in questions]
    requests = [
        ((f"{row}", f"{column}"), list(text.context), list(continuation))
        for row, text in enumerate(texts)
        for column, continuation in enumerate(text.continuations)
    ]
    start = read_clock()
    scores = iter([score for score, _ in model._loglikelihood_tokens(requests, disable_tqdm=True)])
    seconds = read_clock() - start
    return judge_side(seconds, questions, [[next(scores) for _ in text.continuations] for text in texts])


def judge_side(seconds: float, questions: Sequence[Question], found: Sequence[Sequence[float]]) -> EvaluatedSide:
    """The accuracy of these log-likelihoods."""
    from netllama.rendering.question_texts import list_options

    right = sum(
        scores.index(max(scores)) == list_options(question)[1]
        for question, scores in zip(questions, found, strict=True)
    )
    return EvaluatedSide(seconds, len(questions), [list(scores) for scores in found], right / len(questions))


def write_by_ours(number: int, precision: str, most_drafts: int = MOST_DRAFTS) -> EvaluatedSide:
    """Answers as the stages write them, with drafts of at most so many tokens."""
    from netllama.scoring import greedy_decoding
    from netllama.scoring.generation import generate_answers

    greedy_decoding.MOST_DRAFTS = most_drafts
    renderer, model = make_renderer(), load_ours(precision)
    prompts, eos = list_prompts(number, renderer), int(renderer.tokenizer.eos_token_id)
    start = read_clock()
    answers = generate_answers(model, prompts, eos, ANSWER_BATCH, ANSWER_TOKENS)
    return EvaluatedSide(read_clock() - start, sum(map(len, answers)), answers=answers)


def write_by_ask(number: int, precision: str) -> EvaluatedSide:
    """Answers as `python -m commands.ask` writes them, one after the other."""
    from netllama.asking.answer_stream import AnswerStream, make_speakers

    renderer, model = make_renderer(), load_ours(precision)
    [speaker] = make_speakers(model, renderer, has_adapter=False)
    answers = []
    start = read_clock()
    for prompt in list_prompts(number, renderer):
        answer = AnswerStream(speaker, prompt, ANSWER_TOKENS)
        while not answer.is_done:
            answer.step()
        answers.append(answer.ids)
    return EvaluatedSide(read_clock() - start, sum(map(len, answers)), answers=answers)


def write_by_library(number: int, precision: str, batch_size: int) -> EvaluatedSide:
    """Answers by transformers' generate, padded on the left, longest prompts first."""
    import torch

    renderer, model = make_renderer(), load_theirs(precision)
    prompts, eos = list_prompts(number, renderer), int(renderer.tokenizer.eos_token_id)
    order = sorted(range(len(prompts)), key=lambda position: -len(prompts[position]))
    answers: list[list[int]] = [[] for _ in prompts]
    start = read_clock()
    for first in range(0, len(order), batch_size):
        own = order[first : first + batch_size]
        width = len(prompts[own[0]])
        gaps = [width - len(prompts[position]) for position in own]
        ids = torch.tensor([[eos] * gap + prompts[position] for position, gap in zip(own, gaps, strict=True)])
        mask = torch.tensor([[0] * gap + [1] * (width - gap) for gap in gaps])
        options = {"do_sample": False, "max_new_tokens": ANSWER_TOKENS, "eos_token_id": eos, "pad_token_id": eos}
        written = model.generate(input_ids=ids, attention_mask=mask, **options)[:, width:].tolist()
        for position, answer in zip(own, written, strict=True):
            answers[position] = answer[: answer.index(eos) + 1] if eos in answer else answer
    return EvaluatedSide(read_clock() - start, sum(map(len, answers)), answers=answers)
