"""Held-out loss, closed questions and written answers, each against a slow loop that takes one row at a time."""

import copy
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from netllama.core.batching import by_length
from netllama.core.records import Instruction, Question
from netllama.rendering.renderer import Renderer, question_request
from netllama.scoring.choice import choice_metrics, closed, score_choices
from netllama.scoring.generation import generate_answers, generation_metrics, sample
from netllama.scoring.heldout import heldout
from netllama.scoring.likelihood import log_likelihoods
from netllama.scoring.measure import difference

pytestmark = pytest.mark.usefixtures("one_thread")
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    """The tiny model in fp32, with a head so large that its predictions differ from token to token."""
    from transformers import AutoModelForCausalLM

    loaded = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32).eval()
    with torch.no_grad():
        loaded.lm_head.weight.mul_(20)
    return loaded


@pytest.fixture
def renderer(tiny_tokenizer: Any) -> Renderer:
    return Renderer(tiny_tokenizer, "chat", "")


def loop(model: Any, ids: list[int], start: int) -> float:
    """log p(ids[start:]) by a softmax over the full logits of one row."""
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double()
    return sum(float(logits[t - 1].softmax(-1)[ids[t]].log()) for t in range(start, len(ids)))


def question(number: int, **changes: Any) -> Question:
    row = {
        "id": f"q-{number}",
        "family": "bgp_knowledge",
        "kind": "choice",
        "question": f"What does BGP attribute number {number} carry?",
        "options": ["A path", "A next hop that is reachable", "Nothing", "The origin of the route"],
        "answer": "ABCD"[number % 4],
        "aliases": [],
        "key_facts": [],
        "reference": "RFC 4271",
        "cluster": "",
    }
    return Question.model_validate(row | changes)


def true_false(number: int, answer: str = "true") -> Question:
    return question(number, kind="true_false", options=[], answer=answer, question=f"An AS has {number} peers.")


def instruction(number: int, **changes: Any) -> Instruction:
    row = {
        "id": f"row-{number}",
        "family": "bgp_knowledge",
        "source": "seed",
        "instruction": "Explain " + "the AS path " * number + "of BGP.",
        "input": "",
        "output": "The AS path lists the systems that a route has passed.",
    }
    return Instruction.model_validate(row | changes)


def test_batches_hold_every_position_once_longest_first() -> None:
    lengths = [3, 9, 9, 1, 5]
    assert list(by_length(lengths, 2)) == [[1, 2], [4, 0], [3]]
    assert list(by_length([], 2)) == []


@pytest.mark.parametrize("batch_size", [1, 2, 5, 64])
def test_log_likelihoods_equal_a_loop_over_single_rows_for_every_batch_size(
    model: Any, tokenized_rows: Callable[..., Rows], batch_size: int
) -> None:
    rows = [(row["input_ids"], row["answer_start"]) for row in tokenized_rows(9)]
    rows += [([5, 6], 1), (rows[0][0], 1), (rows[1][0], len(rows[1][0]) - 1)]
    expected = [loop(model, ids, start) for ids, start in rows]
    assert log_likelihoods(model, rows, batch_size, "test", leave=False) == pytest.approx(expected, rel=1e-5)
    assert len({round(score, 3) for score in expected}) == len(rows)


def test_log_likelihoods_of_nothing_are_nothing(model: Any) -> None:
    assert log_likelihoods(model, [], 4, "test", leave=False) == []


def test_log_likelihoods_do_not_depend_on_the_order_of_the_rows(
    model: Any, tokenized_rows: Callable[..., Rows]
) -> None:
    rows = [(row["input_ids"], row["answer_start"]) for row in tokenized_rows(7)]
    there = log_likelihoods(model, rows, 3, "test", leave=False)
    back = log_likelihoods(model, rows[::-1], 3, "test", leave=False)
    assert back[::-1] == pytest.approx(there, rel=1e-6)


def option_score(model: Any, renderer: Renderer, asked: Question, option: str) -> float:
    """The option as text after the prompt, tokenized here; the end-of-sequence token is not part of it."""
    prompt = renderer.prompt(question_request(asked))
    count = len(renderer.tokenizer(prompt, add_special_tokens=False)["input_ids"])
    ids = renderer.tokenizer(prompt + option, add_special_tokens=False)["input_ids"]
    return loop(model, ids, count)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_picks_equal_those_of_a_loop_that_scores_each_option_alone(
    model: Any, renderer: Renderer, batch_size: int
) -> None:
    options = question(0).options
    questions = [question(number, options=options[number:] + options[:number]) for number in range(4)]
    questions.append(question(4, options=["Short", "A very much longer option that says the same"], answer="A"))
    results = score_choices(model, questions, renderer, batch_size)
    assert len({row["pick"] for row in results}) > 1, "picks that never differ show nothing"
    assert any(row["pick"] != row["pick_norm"] for row in results)
    for asked, row in zip(questions, results, strict=True):
        scores = [option_score(model, renderer, asked, option) for option in asked.options]
        per_character = [score / len(option) for score, option in zip(scores, asked.options, strict=True)]
        assert row["log_likelihoods"] == pytest.approx(scores, abs=1e-3)
        assert row["pick"] == max(range(len(scores)), key=scores.__getitem__)
        assert row["pick_norm"] == max(range(len(scores)), key=per_character.__getitem__)
        assert row["right"] == "ABCD".index(asked.answer)
        assert (row["id"], row["family"], row["kind"]) == (asked.id, asked.family, asked.kind)


def test_a_tie_goes_to_the_first_option(model: Any, renderer: Renderer) -> None:
    worst_first = sorted(
        ["A path", "Nothing", "The origin"], key=lambda option: option_score(model, renderer, question(1), option)
    )
    low, best = worst_first[0], worst_first[-1]
    row = score_choices(model, [question(1, options=[low, best, best, low])], renderer, 4)[0]
    assert row["log_likelihoods"][1] == row["log_likelihoods"][2]
    assert row["pick"] == 1


def test_true_or_false_is_a_choice_between_these_two_words(model: Any, renderer: Renderer) -> None:
    questions = [true_false(1, "true"), true_false(2, "false")]
    results = score_choices(model, questions, renderer, 4)
    assert [row["right"] for row in results] == [0, 1]
    for asked, row in zip(questions, results, strict=True):
        assert row["kind"] == "true_false"
        expected = [option_score(model, renderer, asked, word) for word in ("True", "False")]
        assert row["log_likelihoods"] == pytest.approx(expected, abs=1e-3)
        assert "True or false?" in renderer.prompt(question_request(asked))


def test_only_closed_questions_are_scored_by_likelihood() -> None:
    open_one = question(3, kind="open", options=[], answer="A text")
    assert closed([question(1), open_one, true_false(2)]) == [question(1), true_false(2)]


def test_choice_metrics_are_what_one_counts_by_hand() -> None:
    def row(kind: str, options: int, right: int, pick: int, pick_norm: int) -> dict[str, Any]:
        return {
            "kind": kind,
            "log_likelihoods": [0.0] * options,
            "right": right,
            "pick": pick,
            "pick_norm": pick_norm,
        }

    results = [
        row("choice", 4, 0, 0, 0),
        row("choice", 4, 1, 1, 0),
        row("choice", 2, 1, 0, 0),
        row("true_false", 2, 0, 1, 1),
        row("true_false", 2, 1, 1, 1),
    ]
    assert choice_metrics(results) == {
        "choice": {"accuracy": 0.6667, "accuracy_norm": 0.3333, "chance": 0.3333, "questions": 3},
        "true_false": {"accuracy": 0.5, "accuracy_norm": 0.5, "chance": 0.5, "questions": 2},
    }
    assert choice_metrics([]) == {}


def test_held_out_loss_of_one_row_equals_the_models_own_loss_with_labels(
    model: Any, tokenized_rows: Callable[..., Rows]
) -> None:
    row = tokenized_rows(1)[0]
    ids = torch.tensor([row["input_ids"]])
    labels = ids.clone()
    labels[:, : row["answer_start"]] = -100
    with torch.inference_mode():
        expected = float(model(input_ids=ids, labels=labels).loss)
    found = heldout(model, [row], 8)
    assert found["loss"] == pytest.approx(expected, abs=1e-4)
    assert found["perplexity"] == pytest.approx(math.exp(expected), rel=1e-4)
    assert (found["rows"], found["tokens"]) == (1, row["length"] - row["answer_start"])


def test_held_out_loss_is_weighted_by_tokens_overall_and_in_every_group(
    model: Any, tokenized_rows: Callable[..., Rows]
) -> None:
    rows = tokenized_rows(9)
    scores = [loop(model, row["input_ids"], row["answer_start"]) for row in rows]

    def mean(keep: Callable[[dict[str, Any]], bool]) -> float:
        kept = [(row, score) for row, score in zip(rows, scores, strict=True) if keep(row)]
        return -sum(score for _, score in kept) / sum(len(row["input_ids"]) - row["answer_start"] for row, _ in kept)

    found = heldout(model, rows, 4)
    assert found["loss"] == pytest.approx(mean(lambda row: True), abs=1e-4)
    assert found["tokens"] == sum(len(row["input_ids"]) - row["answer_start"] for row in rows)
    assert found["family"].keys() == {"bgp_knowledge", "packet_analysis"}
    assert found["source"].keys() == {"generated", "seed"}
    for column in ("family", "source"):
        for name, group in found[column].items():
            expected = mean(lambda row, column=column, name=name: row[column] == name)
            assert group["loss"] == pytest.approx(expected, abs=1e-4)


def test_the_prompt_is_never_scored_however_it_was_trained(model: Any, tokenized_rows: Callable[..., Rows]) -> None:
    rows = tokenized_rows(4)
    on_prompt = [row | {"loss_start": 0} for row in rows]
    assert heldout(model, on_prompt, 4) == heldout(model, rows, 4)


def greedy(model: Any, ids: list[int], number: int, eos: int) -> list[int]:
    """The likeliest next token of the whole sequence, again and again, without a cache; ends before EOS."""
    answer: list[int] = []
    with torch.inference_mode():
        while len(answer) < number:
            token = int(model(input_ids=torch.tensor([ids + answer])).logits[0, -1].argmax())
            if token == eos:
                break
            answer.append(token)
    return answer


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_batched_answers_equal_greedy_answers_to_one_prompt_at_a_time(
    model: Any, renderer: Renderer, batch_size: int
) -> None:
    rows = [instruction(number) for number in range(5)]
    rows.append(instruction(5, input="10.0.0.0/8 via 192.0.2.1"))
    results = generate_answers(model, rows, renderer, batch_size, max_new_tokens=12)
    eos = renderer.tokenizer.eos_token_id
    for row, result in zip(rows, results, strict=True):
        ids = greedy(model, renderer.prompt_ids(row.instruction, row.input), 12, eos)
        assert result["answer"] == renderer.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert result["truncated"] is (len(ids) == 12)
        assert (result["id"], result["reference"], result["input"]) == (row.id, row.output, row.input)
    assert len({result["answer"] for result in results}) > 1


def test_the_end_of_sequence_token_ends_an_answer_while_others_of_the_batch_go_on(
    model: Any, renderer: Renderer
) -> None:
    eos = renderer.tokenizer.eos_token_id
    rows = [instruction(number) for number in range(4)]
    free = [greedy(model, renderer.prompt_ids(row.instruction, row.input), 12, eos=-1) for row in rows]
    # A token that comes late in one answer and never in another: the head now writes EOS in its place.
    stop = next(
        token
        for answer in free
        for place, token in enumerate(answer)
        if place >= 3 and token not in answer[:place] and token != eos and any(token not in other for other in free)
    )
    ending = copy.deepcopy(model)
    with torch.no_grad():
        ending.lm_head.weight[[eos, stop]] = ending.lm_head.weight[[stop, eos]]
    results = generate_answers(ending, rows, renderer, 4, max_new_tokens=12)
    answers = [greedy(ending, renderer.prompt_ids(row.instruction, row.input), 12, eos) for row in rows]
    assert any(3 <= len(answer) < 12 for answer in answers)
    assert any(len(answer) == 12 for answer in answers)
    for result, ids in zip(results, answers, strict=True):
        assert result["answer"] == renderer.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert result["truncated"] is (len(ids) == 12)


def test_what_the_models_own_generation_config_prefers_does_not_change_the_answers(
    model: Any, renderer: Renderer, caplog: pytest.LogCaptureFixture
) -> None:
    """Chat models come with sampling, a temperature, a penalty and a length; answers are greedy all the same."""
    rows = [instruction(number) for number in range(3)]
    plain = generate_answers(model, rows, renderer, 4, max_new_tokens=16)
    chatty = copy.deepcopy(model)
    chatty.generation_config.update(
        do_sample=True, temperature=2.0, top_p=0.5, top_k=3, repetition_penalty=1.8, no_repeat_ngram_size=1, num_beams=3
    )
    chatty.generation_config.max_length = 4096
    caplog.clear()
    assert generate_answers(chatty, rows, renderer, 4, max_new_tokens=16) == plain
    assert [record.getMessage() for record in caplog.records] == []


def test_answers_are_scored_with_rouge_l_against_the_reference(model: Any, renderer: Renderer) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    row = instruction(1)
    first = generate_answers(model, [row], renderer, 1, max_new_tokens=24)[0]
    # The model's own answer with a word more is a reference that it nearly meets.
    result = generate_answers(
        model, [instruction(1, output=first["answer"] + " indeed bgp")], renderer, 1, max_new_tokens=24
    )[0]
    expected = scorer.score(result["reference"], result["answer"])["rougeL"].fmeasure
    assert 0 < expected < 1
    assert result["rougeL"] == pytest.approx(expected, abs=1e-4)


def test_generation_metrics_are_means_over_the_rows() -> None:
    rows = [
        {"rougeL": 0.5, "truncated": True},
        {"rougeL": 0.25, "truncated": False},
        {"rougeL": 0.0, "truncated": False},
    ]
    assert generation_metrics(rows) == {"rougeL": 0.25, "truncated": 0.3333, "rows": 3}
    assert generation_metrics([]) == {}


def test_no_row_to_answer_gives_no_answer(model: Any, renderer: Renderer) -> None:
    assert generate_answers(model, [], renderer, 4, max_new_tokens=4) == []


def test_the_sample_does_not_follow_the_order_of_the_file() -> None:
    rows = [instruction(number) for number in range(30)]
    shuffled = random.Random(0).sample(rows, len(rows))
    chosen = sample(rows, 10)
    assert sample(shuffled, 10) == chosen
    assert len({row.id for row in chosen}) == 10
    assert chosen != sorted(rows, key=lambda row: row.id)[:10], "the first rows are no sample"
    assert {row.id for row in sample(rows, 5)} < {row.id for row in chosen}, "a smaller sample is part of a larger one"


def test_a_sample_is_all_rows_where_there_are_fewer_and_none_for_zero() -> None:
    rows = [instruction(number) for number in range(3)]
    assert {row.id for row in sample(rows, 10)} == {row.id for row in rows}
    assert sample(rows, 0) == []


def test_a_row_taken_out_changes_one_place_of_the_sample() -> None:
    rows = [instruction(number) for number in range(30)]
    chosen = {row.id for row in sample(rows, 10)}
    gone = next(row for row in rows if row.id in chosen)
    assert len(chosen & {row.id for row in sample([row for row in rows if row is not gone], 10)}) == 9


def test_the_difference_is_tuned_minus_base_and_leaves_out_counts() -> None:
    base = {
        "heldout": {"loss": 2.5, "rows": 10, "tokens": 900, "family": {"a": {"loss": 2.0}, "b": {"loss": 3.0}}},
        "choice": {"accuracy": 0.25, "chance": 0.25, "questions": 40},
        "only_base": {"loss": 1.0},
    }
    tuned = {
        "heldout": {"loss": 2.1, "rows": 10, "tokens": 900, "family": {"a": {"loss": 1.5}, "c": {"loss": 9.0}}},
        "choice": {"accuracy": 0.35, "chance": 0.25, "questions": 40},
        "only_tuned": {"loss": 1.0},
    }
    assert difference(tuned, base) == {
        "heldout": {"loss": -0.4, "family": {"a": {"loss": -0.5}}},
        "choice": {"accuracy": 0.1},
    }
