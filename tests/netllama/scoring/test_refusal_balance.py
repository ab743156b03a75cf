"""How readily the tuned model refuses: the largest bias that keeps to the share of false refusals."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.errors import StageError
from netllama.core.files import hash_file, write_json, write_text
from netllama.models.loading import load_base
from netllama.rendering.document_texts import REFUSAL
from netllama.rendering.renderer import Renderer
from netllama.scoring.bias_choice import balance_refusals, choose_bias
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
        assert (found.answered, found.unanswered) == (5, 2), "three with their document alone, two among what is found"
        assert found.false_refusals == refused / 5
        asked = render_reports(material, renderer, ("oracle", "retrieved", "absent"))
        holds = [bool(set(each.row.golden) & set(each.row.arms[each.arm])) for each in asked]
        eos = int(tiny_tokenizer.eos_token_id)
        answers = generate_answers(model, [each.prompt for each in asked], eos, 4, 1, [found.first] * len(asked))
        opens = [answer[0] == tiny_tokenizer.encode(REFUSAL, add_special_tokens=False)[0] for answer in answers]
        assert sum(said for said, held in zip(opens, holds, strict=True) if held) == refused
        said = sum(said for said, held in zip(opens, holds, strict=True) if not held)
        assert found.right_refusals == pytest.approx(said / 2)
        assert f"it refuses {refused / 5:.0%} of 5 questions" in found.describe()


def test_only_questions_with_documents_are_asked_with_it(tiny_tokenizer: Any, material: ReadingMaterial) -> None:
    renderer, bias = Renderer(tiny_tokenizer, "chat", ""), make_balance("").first
    asked = ask_reports(material, renderer, bias)
    assert [prompt.bias for prompt in asked] == [
        bias if each.shown else None for each in render_reports(material, renderer)
    ]
    assert {prompt.bias for prompt in ask_reports(material, renderer)} == {None}
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
