"""How readily the tuned model refuses: the largest bias that keeps to the share of false refusals."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from netllama.core.errors import StageError
from netllama.core.files import hash_file, write_json, write_text
from netllama.models.loading import load_base
from netllama.reading.term_coverage import measure_missing
from netllama.rendering.document_texts import REFUSAL
from netllama.rendering.renderer import Renderer
from netllama.scoring.bias_choice import ARMS, balance_refusals, choose_bias, choose_missing_weight
from netllama.scoring.first_bias import FirstBias
from netllama.scoring.generation import generate_answers
from netllama.scoring.reading_scores import ANSWER_TOKENS, ReadingMaterial, ask_reports, render_reports
from netllama.scoring.refusal_balance import find_balance, read_balance
from tests.support.reading_sets import make_asked, make_balance, make_report_chunks
from tests.support.training_runs import loading_params

WEIGHTS = st.lists(st.integers(-400, 400).map(lambda number: number / 16), min_size=1, max_size=40, unique=True)


@given(weights=WEIGHTS, share=st.floats(0, 0.99))
def test_as_many_are_refused_as_may_be_and_none_more(weights: list[float], share: float) -> None:
    bias = choose_bias(weights, share)
    assert sum(weight + bias > 0 for weight in weights) == int(share * len(weights))
    assert all(weight + bias != 0 for weight in weights), "none hangs on a rounding error"


def test_equal_weights_are_refused_together() -> None:
    assert sum(weight + choose_bias([1.0] * 10, 0.1) > 0 for weight in [1.0] * 10) == 0


def test_what_a_program_sees_counts_as_much_as_it_tells_beside_the_logit() -> None:
    """Of normal scores whose means are apart by 2 and by 1 deviations, the best sum weighs them 2 to 1."""
    draw = random.Random(1)
    lacks = [bool(number % 2) for number in range(4000)]
    weights = [draw.gauss(4.0 * lack, 2.0) for lack in lacks]
    missing = [draw.gauss(0.3 + 0.1 * lack, 0.1) for lack in lacks]
    # Per unit: 2 deviations of 2.0 each, and 1 deviation of 0.1.
    assert choose_missing_weight(weights, missing, lacks) == pytest.approx((1 / 0.1) / (2 / 2.0), rel=0.1)
    assert choose_missing_weight(weights, [0.5] * 4000, lacks) == 0, "the same of all says nothing"
    assert choose_missing_weight(weights, [-share for share in missing], lacks) == 0, "never the wrong way round"
    assert choose_missing_weight([-weight for weight in weights], missing, lacks) == 0
    assert choose_missing_weight(weights, missing, [True] * 4000) == choose_missing_weight([], [], []) == 0


@pytest.fixture
def material() -> ReadingMaterial:
    """Two questions whose document a search finds, one whose it does not find, and one that none answers."""
    rows = [make_asked(0, ["r1", "r0"]), make_asked(2, ["r3", "r2"]), make_asked(1, ["r3"])]
    rows += [make_asked(3, ["r4"], answered=False)]
    texts = {chunk.id: chunk.text for chunk in make_report_chunks()}
    return ReadingMaterial(rows, [], texts)


def test_the_balance_says_what_greedy_answers_do(
    one_thread: None, tiny_model_folder: Path, tiny_tokenizer: Any, material: ReadingMaterial, tmp_path: Path
) -> None:
    """Of a random model, whose first tokens are anything: with the bias it opens the refusal where it is said to."""
    model, renderer = (
        load_base(tiny_model_folder, loading_params("fp32", "none", True)),
        Renderer(tiny_tokenizer, "chat", ""),
    )
    write_text(tmp_path / "adapter_model.safetensors", "weights")
    for most_false, refused in ((0.0, 0), (0.4, 2)):
        found = balance_refusals(model, material, renderer, most_false, tmp_path)
        assert found
        assert (found.answered, found.unanswered) == (5, 5), "three with their document alone, two among what is found"
        assert found.false_refusals == refused / 5
        asked = render_reports(material, renderer, ARMS)
        holds = [bool(set(each.row.golden) & set(each.row.arms[each.arm])) for each in asked]
        eos = int(tiny_tokenizer.eos_token_id)
        biases = [found.weigh(each.row.question, each.shown) for each in asked]
        answers = generate_answers(model, [each.prompt for each in asked], eos, 4, 1, biases)
        opens = [answer[0] == tiny_tokenizer.encode(REFUSAL, add_special_tokens=False)[0] for answer in answers]
        assert sum(said for said, held in zip(opens, holds, strict=True) if held) == refused
        said = sum(said for said, held in zip(opens, holds, strict=True) if not held)
        assert found.right_refusals == pytest.approx(said / 5)
        missing = [measure_missing(each.row.question, each.shown) for each in asked]
        lacks = [not held for held in holds]
        assert found.told_apart_by_terms == pytest.approx(roc_auc_score(lacks, missing), abs=1e-4)
        biased = [bias.value - found.bias for bias in biases]
        assert biased == pytest.approx([found.missing_weight * share for share in missing], abs=1e-3)
        assert f"it refuses {refused / 5:.0%} of 5 questions" in found.describe()


def test_only_questions_with_documents_are_asked_with_it(tiny_tokenizer: Any, material: ReadingMaterial) -> None:
    renderer, balance = Renderer(tiny_tokenizer, "chat", ""), make_balance("")
    asked = ask_reports(material, renderer, balance)
    assert [prompt.steering for prompt in asked] == [
        balance.weigh(each.row.question, each.shown) if each.shown else None
        for each in render_reports(material, renderer)
    ]
    biases = {prompt.steering.value for prompt in asked if isinstance(prompt.steering, FirstBias)}
    assert len(biases) > 1
    assert min(biases) >= balance.bias
    assert {prompt.steering for prompt in ask_reports(material, renderer)} == {None}
    assert {prompt.limit for prompt in asked} == {ANSWER_TOKENS}


def test_where_nothing_is_asked_there_is_none(tiny_model_folder: Path, tiny_tokenizer: Any, tmp_path: Path) -> None:
    model: Any = None
    assert (
        balance_refusals(model, ReadingMaterial([], [], {}), Renderer(tiny_tokenizer, "chat", ""), 0.1, tmp_path)
        is None
    )


def test_it_is_found_for_the_adapter_that_it_is_for(tmp_path: Path) -> None:
    path, adapter = tmp_path / "refusals.json", tmp_path / "adapter"
    assert find_balance(path, adapter) is None
    write_text(adapter / "adapter_model.safetensors", "weights")
    own = make_balance(hash_file(adapter / "adapter_model.safetensors"))
    write_json(path, own.model_dump())
    assert find_balance(path, adapter) == read_balance(path) == own
    write_text(adapter / "adapter_model.safetensors", "other weights")
    assert find_balance(path, adapter) is None
    write_json(path, {"none": "nothing was asked"})
    assert read_balance(path) is None
    write_json(path, {"bias": 1.0})
    with pytest.raises(StageError, match=r"refusals\.json: adapter: field required; run `dvc repro -f evaluate`"):
        read_balance(path)
