"""Answers token by token: ids are those of evaluate, nothing shown is taken back, one set of weights is two models."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netllama.asking.answer_stream import AnswerStream, Speaker, describe_answer, make_speakers
from netllama.core.errors import StageError
from netllama.models.loading import load_adapter, load_base
from netllama.rendering.renderer import Renderer
from netllama.scoring.generation import generate_answers
from netllama.training.adapter import add_adapter, save_adapter
from tests.support.decisive_model import load_decisive_model
from tests.support.training_runs import loading_params, lora_params, training_record

pytestmark = pytest.mark.usefixtures("one_thread")
QUESTIONS = ("What is a MOAS conflict?", "Port?", "Explain the AS path " * 30, "```python\nimport pybgpstream\n```")


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    return load_decisive_model(tiny_model_folder).requires_grad_(False)


@pytest.fixture(scope="module")
def renderer(tiny_tokenizer: Any) -> Renderer:
    return Renderer(tiny_tokenizer, "chat", "")


@pytest.fixture(scope="module")
def adapter(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on all linear layers that changes the tiny model a lot."""
    folder = tmp_path_factory.mktemp("ask") / "adapter"
    base = load_base(tiny_model_folder, loading_params())
    model, start = add_adapter(base, lora_params(), 1, tiny_model_folder)
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_().mul_(0.5)
    save_adapter(model, folder, training_record(), start)
    return folder


def finish(answer: AnswerStream) -> AnswerStream:
    while not answer.is_done:
        answer.step()
    return answer


def generate_alone(model: Any, renderer: Renderer, prompt: list[int], most: int) -> list[int]:
    """What evaluate's generation gives for this prompt."""
    return generate_answers(model, [prompt], int(renderer.tokenizer.eos_token_id), 1, most)[0]


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("most", [1, 40])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_greedy_answer_is_that_of_evaluate(
    model: Any, renderer: Renderer, question: str, most: int, precision: torch.dtype
) -> None:
    model = copy.deepcopy(model).to(precision)
    [speaker] = make_speakers(model, renderer, has_adapter=False)
    assert speaker.decoder, "evaluate decodes a Llama on a CPU this way"
    prompt = speaker.encode_question(question)
    answer = finish(AnswerStream(speaker, prompt, most))
    expected = generate_alone(model, renderer, prompt, most)
    assert answer.ids == expected
    assert answer.text == renderer.decode_answer(expected)
    assert answer.is_cut == (renderer.tokenizer.eos_token_id not in expected)


def test_the_librarys_way_gives_the_same(model: Any, renderer: Renderer) -> None:
    """As on a GPU, or for a model that is no Llama."""
    speaker = Speaker("base model", model, renderer)
    prompt = speaker.encode_question(QUESTIONS[0])
    assert finish(AnswerStream(speaker, prompt, 40)).ids == generate_alone(model, renderer, prompt, 40)


def test_both_models_decode_from_one_copy_of_the_weights(
    tiny_model_folder: Path, adapter: Path, renderer: Renderer
) -> None:
    model = load_adapter(load_base(tiny_model_folder, loading_params()), adapter)
    base, tuned = (speaker.decoder for speaker in make_speakers(model, renderer, has_adapter=True))
    assert base
    assert tuned
    for one, other in zip(base.layers, tuned.layers, strict=True):
        for part in ("attention", "output", "gate", "down"):
            assert getattr(one, part).weight is getattr(other, part).weight
            assert getattr(one, part).lora is None
            assert getattr(other, part).lora is not None


def test_a_model_that_can_not_share_prefixes_is_read_in_one_pass_as_evaluate_reads_it(
    model: Any, renderer: Renderer
) -> None:
    windowed = copy.deepcopy(model)
    windowed.config.sliding_window = 4096
    speaker = Speaker("base model", windowed, renderer)
    prompt = speaker.encode_question(QUESTIONS[0])
    assert finish(AnswerStream(speaker, prompt, 20)).ids == generate_alone(windowed, renderer, prompt, 20)


def test_an_answer_ends_at_its_end_of_sequence_token_and_is_not_cut(model: Any, renderer: Renderer) -> None:
    speaker = Speaker("base model", model, renderer)
    prompt = speaker.encode_question(QUESTIONS[0])
    never_ended = finish(AnswerStream(speaker, prompt, 12))
    assert never_ended.is_cut
    assert describe_answer(never_ended).startswith("12 tokens, ")
    assert describe_answer(never_ended).endswith(" a second, cut at the limit")
    ending = copy.copy(renderer)
    ending.tokenizer = copy.deepcopy(renderer.tokenizer)  # a shallow copy shares the map of special tokens
    ending.tokenizer.eos_token = renderer.tokenizer.convert_ids_to_tokens(never_ended.ids[4])
    ended = finish(AnswerStream(Speaker("base model", model, ending), prompt, 12))
    first = never_ended.ids.index(never_ended.ids[4])
    assert ended.ids == never_ended.ids[: first + 1]
    assert not ended.is_cut


def test_an_answer_ends_where_the_models_positions_end(model: Any, renderer: Renderer) -> None:
    speaker = Speaker("base model", model, renderer)
    room = speaker.count_positions()
    prompt = speaker.encode_question("peer " * 980)
    assert room - 60 < len(prompt) < room
    assert len(finish(AnswerStream(speaker, prompt, 10_000)).ids) == room - len(prompt)


@pytest.mark.parametrize("earlier", [[], [("Who?", "AS 64500.")]])
def test_a_question_without_room_for_an_answer_is_refused_with_a_way_out(
    model: Any, renderer: Renderer, earlier: list[tuple[str, str]]
) -> None:
    remedy = "/reset forgets what was said" if earlier else "shorten it"
    with pytest.raises(StageError, match=rf"comes to [\d,]+ tokens and base model reads 1,024; {remedy}"):
        Speaker("base model", model, renderer).encode_question("peer " * 1100, earlier)


@pytest.mark.parametrize("question", ["caf\udce9", "\ufdd0special-token-1"])
def test_a_question_that_is_no_text_is_refused(model: Any, renderer: Renderer, question: str) -> None:
    with pytest.raises(StageError, match="the question "):
        Speaker("base model", model, renderer).encode_question(question)


@given(text=st.text(alphabet="aZ \n\té中👩\u200d\u3000\ufffd.#", max_size=40))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_shown_of_a_growing_answer_is_never_taken_back(model: Any, renderer: Renderer, text: str) -> None:
    """Characters of several tokens included: the tiny tokenizer writes 中 and 👩 byte by byte."""
    answer = AnswerStream(Speaker("base model", model, renderer), [5], 10_000)
    shown = ""
    for id in [*renderer.special_tokens.encode(renderer.special_tokens.hide(text)), renderer.tokenizer.eos_token_id]:
        answer.ids.append(id)
        assert answer.text.startswith(shown)
        shown = answer.text
    assert shown == text.strip()


@pytest.mark.parametrize(("precision", "fast"), [("fp32", True), ("bf16", True), ("fp32", False)])
def test_with_the_adapter_off_the_weights_are_the_base_and_with_it_on_the_tuned_model(
    tiny_model_folder: Path, adapter: Path, renderer: Renderer, precision: str, fast: bool
) -> None:
    """Both grow in turn, on the fast layers of a CPU; each is compared with a model that is loaded for it alone."""
    both = load_adapter(load_base(tiny_model_folder, loading_params(precision)), adapter)
    base, tuned = make_speakers(both, renderer, has_adapter=True)
    if not fast:
        base, tuned = replace(base, decoder=None), replace(tuned, decoder=None)
    prompt = base.encode_question(QUESTIONS[0])
    answers = [AnswerStream(speaker, prompt, 24) for speaker in (base, tuned)]
    while not all(answer.is_done for answer in answers):
        for answer in answers:
            if not answer.is_done:
                answer.step()
    alone = load_base(tiny_model_folder, loading_params(precision))
    assert answers[0].ids == generate_alone(alone, renderer, prompt, 24)
    assert answers[1].ids == generate_alone(load_adapter(alone, adapter), renderer, prompt, 24)
    assert answers[0].ids != answers[1].ids


def test_a_switched_off_adapter_leaves_the_logits_of_the_base_to_the_last_bit(
    tiny_model_folder: Path, adapter: Path
) -> None:
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.inference_mode():
        expected = load_base(tiny_model_folder, loading_params())(input_ids=ids).logits
        model: Any = load_adapter(load_base(tiny_model_folder, loading_params()), adapter)
        tuned = model(input_ids=ids).logits
        with model.disable_adapter():
            assert torch.equal(model(input_ids=ids).logits, expected)
        assert torch.equal(model(input_ids=ids).logits, tuned)
        assert not torch.equal(tuned, expected)


def test_answers_are_sampled_by_the_softmax_of_the_logits_over_the_temperature(model: Any, renderer: Renderer) -> None:
    """Against frequencies that the probabilities allow for (five standard deviations)."""
    speaker = Speaker("base model", model, renderer)
    prompt = speaker.encode_question(QUESTIONS[1])
    torch.manual_seed(0)
    drawn = [finish(AnswerStream(speaker, prompt, 1, temperature=2.0)).ids[0] for _ in range(300)]
    with torch.inference_mode():
        shares = (model(input_ids=torch.tensor([prompt])).logits[0, -1].double() / 2.0).softmax(-1)
    for id in shares.topk(5).indices.tolist():
        share = float(shares[id])
        assert abs(drawn.count(id) / 300 - share) < 5 * (share * (1 - share) / 300) ** 0.5
    assert len(set(drawn)) > 1
