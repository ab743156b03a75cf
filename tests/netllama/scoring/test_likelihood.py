"""Log-likelihoods with shared beginnings, against a loop that scores each text alone, without sharing or padding."""

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netllama.cpu_layers.attention import use_cpu_attention
from netllama.cpu_layers.fast_blocks import use_fast_blocks
from netllama.cpu_layers.fast_lora_layers import use_fast_layers
from netllama.scoring import likelihood
from netllama.scoring.likelihood import can_share, score_continuations
from netllama.scoring.shared_prefixes import Continued, batch_by_tokens, cut_shared_beginning, pack_batch
from tests.support.adapters import adapted
from tests.support.plain_scores import score_alone

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
TOKEN = st.integers(2, 599)
TEXTS = st.lists(
    st.builds(
        Continued,
        context=st.lists(TOKEN, min_size=1, max_size=9),
        continuations=st.lists(st.lists(TOKEN, min_size=1, max_size=5), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=6,
)


def sharpen(model: Any) -> Any:
    """A head so large that the predictions differ from token to token."""
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def plain(tiny_model_folder: Path) -> Any:
    """The tiny model in fp32, as the library has it."""
    from transformers import AutoModelForCausalLM

    return sharpen(AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32))


@pytest.fixture(scope="module")
def fast(tiny_model_folder: Path) -> Any:
    """The same, with the layers that it has on a CPU."""
    from transformers import AutoModelForCausalLM

    model = sharpen(AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32))
    use_fast_blocks(model)
    use_cpu_attention(model)
    return model


def loop(model: Any, texts: list[Continued]) -> list[list[float]]:
    return [
        [score_alone(model, [*text.context, *each], len(text.context)) for each in text.continuations] for text in texts
    ]


def assert_equal(found: list[list[float]], expected: list[list[float]]) -> None:
    assert [len(each) for each in found] == [len(each) for each in expected]
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-4)


@QUICK
@given(texts=TEXTS, beginning=st.lists(TOKEN, max_size=6), tokens=st.sampled_from([1, 7, 30, 1000]))
def test_scores_are_those_of_a_loop_over_single_texts_for_any_texts_beginning_and_batch(
    plain: Any, fast: Any, texts: list[Continued], beginning: list[int], tokens: int
) -> None:
    texts = [Continued([*beginning, *text.context], text.continuations) for text in texts]
    expected = loop(plain, texts)
    assert can_share(fast)
    assert_equal(score_continuations(fast, texts, "test", tokens), expected)
    assert_equal(score_continuations(plain, texts, "test", tokens), expected)


@QUICK
@given(texts=TEXTS, tokens=st.sampled_from([1, 40]))
def test_so_they_are_where_a_model_can_not_share(plain: Any, texts: list[Continued], tokens: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihood, "can_share", lambda model: False)
        assert_equal(score_continuations(plain, texts, "test", tokens), loop(plain, texts))


def some_texts(number: int, seed: int = 1) -> list[Continued]:
    """With one beginning of five tokens; contexts and continuations of unequal length."""
    draw = torch.Generator().manual_seed(seed)

    def ids(most: int) -> list[int]:
        length = int(torch.randint(1, most + 1, (), generator=draw))
        return torch.randint(2, 600, (length,), generator=draw).tolist()

    return [Continued([5, 6, 7, 8, 9, *ids(20)], [ids(6) for _ in range(1 + at % 4)]) for at in range(number)]


def test_an_adapter_scores_as_pefts_own_layers_do(tiny_model_folder: Path) -> None:
    texts, slow = some_texts(5), adapted(tiny_model_folder).eval().requires_grad_(False)
    quick = adapted(tiny_model_folder).eval().requires_grad_(False)
    use_fast_layers(quick)
    use_fast_blocks(quick)
    use_cpu_attention(quick.get_base_model())
    found, expected = score_continuations(quick, texts, "test"), loop(slow, texts)
    assert_equal(found, expected)
    with slow.disable_adapter():
        assert abs(loop(slow, texts)[0][0] - expected[0][0]) > 0.01, "the adapter changes nothing"


def test_in_bf16_scores_are_as_near_to_fp32_as_those_of_single_texts(tiny_model_folder: Path, plain: Any) -> None:
    from transformers import AutoModelForCausalLM

    half = sharpen(AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.bfloat16))
    texts = some_texts(12)
    true, alone = (torch.tensor(list(chain.from_iterable(loop(model, texts)))) for model in (plain, half))
    use_cpu_attention(half)
    found = torch.tensor(list(chain.from_iterable(score_continuations(half, texts, "test"))))
    assert (found - true).norm() < 1.5 * (alone - true).norm()


@pytest.mark.parametrize("size", [1, 100, 599, 10_000])
def test_the_vocabulary_may_be_taken_in_parts_of_any_size(
    monkeypatch: pytest.MonkeyPatch, fast: Any, plain: Any, size: int
) -> None:
    monkeypatch.setattr(likelihood, "VOCABULARY", size)
    texts = some_texts(3)
    assert_equal(score_continuations(fast, texts, "test"), loop(plain, texts))


def test_a_head_that_does_more_than_a_product_is_the_models_own() -> None:
    from transformers import CohereConfig, CohereForCausalLM

    torch.manual_seed(0)
    config = CohereConfig(
        vocab_size=600,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=4,
        logit_scale=3.0,
        initializer_range=0.5,
    )
    model = CohereForCausalLM(config).eval().requires_grad_(False)
    assert can_share(model)
    assert_equal(score_continuations(model, some_texts(3), "test", 60), loop(model, some_texts(3)))


def windowed() -> Any:
    from transformers import MistralConfig, MistralForCausalLM

    sizes = {"vocab_size": 600, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return MistralForCausalLM(MistralConfig(**sizes, **heads, sliding_window=8, initializer_range=0.5))


def learned_positions() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=600, n_embd=32, n_layer=1, n_head=4, initializer_range=0.5))


def biased_by_distance() -> Any:
    from transformers import BloomConfig, BloomForCausalLM

    return BloomForCausalLM(BloomConfig(vocab_size=600, hidden_size=32, n_layer=1, n_head=4, initializer_range=0.5))


@pytest.mark.parametrize("make", [windowed, learned_positions, biased_by_distance])
def test_a_model_of_another_kind_reads_each_text_alone(make: Any) -> None:
    torch.manual_seed(0)
    model = make().eval().requires_grad_(False)
    assert not can_share(model)
    assert_equal(score_continuations(model, some_texts(4), "test", 60), loop(model, some_texts(4)))


def test_scores_of_nothing_are_nothing(fast: Any) -> None:
    assert score_continuations(fast, [], "test") == []


def test_scores_do_not_depend_on_the_other_texts_or_their_order(fast: Any) -> None:
    texts = some_texts(7)
    there, back = score_continuations(fast, texts, "test"), score_continuations(fast, texts[::-1], "test")
    assert_equal(back[::-1], there)
    assert_equal([score_continuations(fast, [text], "test")[0] for text in texts], there)


class Positions:
    """Counts the positions that go through a model's first layer."""

    def __init__(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = 0
        layer = model.model.layers[0]
        forward = layer.forward

        def count(hidden: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            self.read += hidden.shape[0] * hidden.shape[1]
            return forward(hidden, *args, **kwargs)

        monkeypatch.setattr(layer, "forward", count)


def test_what_is_shared_is_read_once_and_a_last_token_not_at_all(plain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [Continued([*range(2, 22), token], [[7, 8], [9], [10, 11, 12]]) for token in (30, 31, 32)]
    positions = Positions(plain, monkeypatch)
    score_continuations(plain, texts, "test")
    assert positions.read == 20 + 3 * (1 + 1 + 0 + 2)


# --- the batches


def test_an_empty_context_or_continuation_is_refused() -> None:
    for context, continuations in (([], [[1]]), ([1], [[1], []])):
        with pytest.raises(ValueError, match="at least one token"):
            Continued(context, continuations)


@given(TEXTS)
def test_the_shared_beginning_leaves_a_token_of_each_context(texts: list[Continued]) -> None:
    beginning, rest = cut_shared_beginning(texts)
    assert all(text.context for text in rest)
    assert [[*beginning, *text.context] for text in rest] == [list(text.context) for text in texts]
    assert [text.continuations for text in rest] == [text.continuations for text in texts]
    firsts = {text.context[0] for text in rest}
    assert len(texts) < 2 or len(firsts) > 1 or min(len(text.context) for text in rest) == 1, "more is shared"


@given(st.lists(st.integers(1, 50)), st.integers(1, 120))
def test_every_text_is_in_one_batch_that_keeps_to_the_budget(widths: list[int], tokens: int) -> None:
    batches = list(batch_by_tokens(widths, tokens))
    assert sorted(position for batch in batches for position in batch) == list(range(len(widths)))
    for batch in batches:
        widest = max(widths[position] for position in batch)
        assert len(batch) == 1 or len(batch) * widest <= tokens
        assert len(batch) * widest - sum(widths[position] for position in batch) <= tokens // 16


def test_a_batch_ends_early_only_where_padding_would_be_too_much() -> None:
    assert list(batch_by_tokens([50, 50, 48, 20, 20, 20], 640)) == [[0, 1, 2, 3], [4, 5]]
    assert list(batch_by_tokens([50, 50, 48, 32, 20], 640)) == [[0, 1, 2, 3], [4]]
    assert list(batch_by_tokens([7] * 5, 21)) == [[0, 1, 2], [3, 4]]


def test_a_batch_in_full() -> None:
    batch = pack_batch([Continued([5, 6], [[7, 8], [9]]), Continued([4], [[3]])], offset=2)
    assert batch.input_ids.tolist() == [[5, 6, 7], [4, 0, 0]]
    assert batch.position_ids.tolist() == [[2, 3, 4], [2, 0, 0]]
    assert batch.predicts.tolist() == [[False, True, True], [True, False, False]]
    assert batch.sources.tolist() == [0, 1, 0, 2]
    assert batch.targets.tolist() == [7, 8, 9, 3]
    assert batch.visible is not None
    assert batch.visible[0, 0].int().tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
    assert pack_batch([Continued([5, 6], [[7, 8]]), Continued([4], [[3]])], offset=0).visible is None
