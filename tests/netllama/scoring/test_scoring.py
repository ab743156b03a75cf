"""Held-out loss, closed questions and written answers, each against a slow loop that takes one row at a time."""

import copy
import math
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netllama.core.files import read_jsonl, write_jsonl
from netllama.core.records import Question, parse_as
from netllama.core.tokenized_rows import TokenizedRow
from netllama.rendering.question_texts import list_options, phrase_question
from netllama.rendering.renderer import Renderer
from netllama.scoring import generation, memory_batches
from netllama.scoring.choice import (
    judge_choice,
    measure_baselines,
    measure_longest,
    score_choices,
    select_closed,
    summarize_choices,
)
from netllama.scoring.generation import generate_answers
from netllama.scoring.heldout import score_heldout, summarize_heldout
from netllama.scoring.kept_answers import NOTHING_KEPT
from netllama.scoring.measure import subtract_metrics
from netllama.scoring.score import Score, find_number
from netllama.scoring.task_answers import ask_rows, judge_answer, sample_rows, score_answers, summarize_answers
from tests.support.decisive_model import load_decisive_model
from tests.support.plain_scores import score_alone as loop

pytestmark = pytest.mark.usefixtures("one_thread")
Rows = list[TokenizedRow]


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    return load_decisive_model(tiny_model_folder)


@pytest.fixture
def renderer(tiny_tokenizer: Any) -> Renderer:
    return Renderer(tiny_tokenizer, "chat", "")


def measure_heldout_loss(model: Any, rows: Rows) -> Any:
    return summarize_heldout(score_heldout(model, rows), rows)


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


def written_row(renderer: Renderer, number: int, context: str = "", output: str = "") -> TokenizedRow:
    """A row of the test split, as the stage tokenize makes it."""
    request = "Explain " + "the AS path " * number + "of BGP."
    rendered = renderer.render(request, output or "The AS path lists the systems that a route has passed.", context)
    ids, start = rendered.input_ids, rendered.answer_start
    return TokenizedRow(f"row-{number}", "bgp_knowledge", "seed", ids, start, start)


def option_score(model: Any, renderer: Renderer, asked: Question, option: str) -> float:
    """The option as text after the prompt, tokenized here; the end-of-sequence token is not part of it."""
    prompt = renderer.render_prompt(phrase_question(asked))
    count = len(renderer.tokenizer(prompt, add_special_tokens=False)["input_ids"])
    ids = renderer.tokenizer(prompt + option, add_special_tokens=False)["input_ids"]
    return loop(model, ids, count)


def unasked_score(model: Any, renderer: Renderer, option: str) -> float:
    """The option's log-likelihood where no question is asked."""
    rendered = renderer.render("Answer:", option)
    return loop(model, rendered.input_ids[:-1], rendered.answer_start)


def log_likelihoods_of(score: Score) -> list[float]:
    """Those of the options, as the explanation lists them."""
    return [float(part.split()[0]) for part in score.explanation.split("; ")]


def test_picks_equal_those_of_a_loop_that_scores_each_option_alone(model: Any, renderer: Renderer) -> None:
    options = question(0).options
    questions = [
        question(number, options=options[number:] + options[:number], cluster=f"c{number}") for number in range(4)
    ]
    questions.append(question(4, options=["Short", "A very much longer option that says the same"], answer="A"))
    results = score_choices(model, questions, renderer)
    assert {score.value for score in results} == {0.0, 1.0}, "answers that are all right or all wrong show little"
    assert any(score.value != score.measures["accuracy_norm"] for score in results)
    for asked, score in zip(questions, results, strict=True):
        expected = [option_score(model, renderer, asked, option) for option in asked.options]
        per_character = [each / len(option) for each, option in zip(expected, asked.options, strict=True)]
        pick, pick_norm = (max(range(len(each)), key=each.__getitem__) for each in (expected, per_character))
        right = "ABCD".index(asked.answer)
        assert log_likelihoods_of(score) == pytest.approx(expected, abs=1e-3)
        assert (score.answer, score.expected) == (asked.options[pick], asked.options[right])
        assert score.value == (pick == right)
        assert score.measures["accuracy_norm"] == (pick_norm == right)
        alone = [unasked_score(model, renderer, option) for option in asked.options]
        gains = [with_question - without for with_question, without in zip(expected, alone, strict=True)]
        assert score.measures["accuracy_pmi"] == (max(range(len(gains)), key=gains.__getitem__) == right)
        shares = torch.tensor(expected).softmax(0).tolist()
        brier = sum((share - (place == right)) ** 2 for place, share in enumerate(shares))
        assert score.measures["brier"] == pytest.approx(brier, abs=1e-3)
        assert score.measures["confidence"] == pytest.approx(max(shares), abs=1e-3)
        assert (score.measures["tie"], score.measures["chance"]) == (0, 1 / len(asked.options))
        assert (score.item, score.suite, score.family) == (asked.id, "questions", asked.family)
        assert (score.kind, score.cluster) == (asked.kind, asked.cluster)


def test_a_tie_goes_to_the_first_option() -> None:
    score = judge_choice(question(1, options=["low", "best", "BEST", "lowest"]), [-3.0, -1.0, -1.0, -4.0], [-2.0] * 4)
    assert (score.answer, score.value, score.measures["accuracy_norm"]) == ("best", 1.0, 1.0)
    assert score.measures["tie"] == 1


def test_the_longer_of_two_equally_likely_options_is_the_one_by_its_length() -> None:
    score = judge_choice(question(1, options=["TCP", "UDP port 179"]), [-2.0, -2.5], [-2.0] * 2)
    assert (score.answer, score.expected) == ("TCP", "UDP port 179")
    assert (score.value, score.measures["accuracy_norm"], score.measures["tie"]) == (0.0, 1.0, 0.0)
    assert score.measures["brier"] == pytest.approx(2 * 0.6225**2, abs=1e-3)
    assert score.explanation == "-2.0000 TCP; -2.5000 UDP port 179"


def test_true_or_false_is_a_choice_between_these_two_words(model: Any, renderer: Renderer) -> None:
    questions = [true_false(1, "true"), true_false(2, "false")]
    results = score_choices(model, questions, renderer)
    assert [score.expected for score in results] == ["True", "False"]
    for asked, score in zip(questions, results, strict=True):
        assert score.kind == "true_false"
        expected = [option_score(model, renderer, asked, word) for word in ("True", "False")]
        assert log_likelihoods_of(score) == pytest.approx(expected, abs=1e-3)
        assert "True or false?" in renderer.render_prompt(phrase_question(asked))
        assert list_options(asked) == (["True", "False"], ["true", "false"].index(asked.answer))


def test_only_closed_questions_are_scored_by_likelihood() -> None:
    open_one = question(3, kind="open", options=[], answer="A text")
    assert select_closed([question(1), open_one, true_false(2)]) == [question(1), true_false(2)]


def score_of(kind: str, value: float, **measures: float) -> Score:
    texts = {"answer": "a", "expected": "b", "explanation": ""}
    return Score(item="i", suite="s", family="f", kind=kind, cluster="", value=value, measures=measures, **texts)


def test_choice_metrics_are_what_one_counts_by_hand() -> None:
    def chosen(kind: str, value: float, norm: float, chance: float, confidence: float, tie: float = 0.0) -> Score:
        rest = {"accuracy_pmi": 1 - value, "brier": 0.5, "confidence": confidence, "tie": tie, "chance": chance}
        written = {"longest_option": norm / 2, "place": 2 * value}
        rest |= written if kind == "choice" else {"accuracy_balanced": 1.0}
        return score_of(kind, value, accuracy_norm=norm, **rest)

    results = [
        chosen("choice", 1.0, 1.0, 0.25, 0.75),
        chosen("choice", 1.0, 0.0, 0.25, 0.72),
        chosen("choice", 0.0, 0.0, 0.5, 0.35, tie=1.0),
        chosen("true_false", 0.0, 0.0, 0.5, 1.0),
        chosen("true_false", 1.0, 1.0, 0.5, 1.0).model_copy(update={"answer": "True", "expected": "True"}),
        chosen("true_false", 0.0, 0.0, 0.5, 1.0).model_copy(update={"answer": "False", "expected": "True"}),
    ]
    found = summarize_choices(results)
    assert found["choice"] == {
        "accuracy": 0.6667,
        "accuracy_norm": 0.3333,
        "accuracy_pmi": 0.3333,
        "brier": 0.5,
        "calibration_error": round((abs(2 - 0.75 - 0.72) + 0.35) / 3, 4),
        "ties": 1,
        "chance": 0.3333,
        "majority": 0.6667,
        "longest_option": 0.1667,
        "questions": 3,
    }
    assert found["true_false"] == {
        "accuracy": 0.3333,
        "accuracy_norm": 0.3333,
        "accuracy_pmi": 0.6667,
        "brier": 0.5,
        "calibration_error": 0.6667,
        "accuracy_balanced": 1.0,
        "says_true": 0.3333,
        "ties": 0,
        "chance": 0.5,
        "majority": 0.6667,
        "questions": 3,
    }
    assert summarize_choices([]) == {}


@pytest.mark.parametrize(
    ("options", "right", "expected"),
    [(["a", "bb", "c"], 1, 1.0), (["aa", "b", "c"], 1, 0.0), (["aa", "bb", "c", "dd"], 3, 1 / 3), (["a", "b"], 0, 0.5)],
)
def test_the_longest_option_is_right_as_often_as_a_draw_of_the_longest_is(
    options: list[str], right: int, expected: float
) -> None:
    assert measure_longest(options, right) == pytest.approx(expected)


def test_what_is_known_without_knowledge_is_said_of_closed_questions_only() -> None:
    choice = judge_choice(question(1), [-3.0, -1.0, -1.0, -4.0], [-2.0] * 4)
    statement = judge_choice(true_false(2, "false"), [-1.0, -2.0], [-2.0] * 2)
    assert measure_baselines([choice]) == {"chance": 0.25, "majority": 1.0, "longest_option": 1.0}
    others = [choice.model_copy(update={"measures": choice.measures | {"place": place}}) for place in (0.0, 2.0, 2.0)]
    assert measure_baselines(others)["majority"] == 0.6667
    assert measure_baselines([statement]) == {"chance": 0.5, "majority": 1.0}
    assert measure_baselines([choice, statement]) == {"chance": 0.375}
    assert measure_baselines([score_of("blank", 1.0, ranked_first=1.0)]) == {}


def test_a_score_comes_back_from_the_line_that_it_is_written_as(tmp_path: Path) -> None:
    scores = [
        judge_choice(question(1), [-3.0, -1.0, -1.0, -4.0], [-2.0] * 4),
        score_of("generation", 0.25, truncated=1.0),
    ]
    write_jsonl(tmp_path / "base.jsonl", (score.model_dump() for score in scores))
    assert read_jsonl(tmp_path / "base.jsonl", lambda row: parse_as(Score, row)) == scores


def test_held_out_loss_of_one_row_equals_the_models_own_loss_with_labels(
    model: Any, tokenized_rows: Callable[..., Rows]
) -> None:
    row = tokenized_rows(1)[0]
    ids = torch.tensor([row.input_ids])
    labels = ids.clone()
    labels[:, : row.answer_start] = -100
    with torch.inference_mode():
        expected = float(model(input_ids=ids, labels=labels).loss)
    found = measure_heldout_loss(model, [row])
    assert found["loss"] == pytest.approx(expected, abs=1e-4)
    assert (found["rows"], found["tokens"]) == (1, row.length - row.answer_start)


def test_perplexity_is_that_of_the_loss_before_it_is_rounded(model: Any, tokenized_rows: Callable[..., Rows]) -> None:
    """A loss of four digits leaves only one or two of a large perplexity's true."""
    rows = tokenized_rows(9)
    total = sum(loop(model, row.input_ids, row.answer_start) for row in rows)
    loss = -total / sum(row.answer_tokens for row in rows)
    found = measure_heldout_loss(model, rows)
    assert found["perplexity"] == pytest.approx(math.exp(loss), rel=1e-6)
    assert found["perplexity"] != pytest.approx(math.exp(round(loss, 4)), rel=1e-6), "the loss happens to be round"


def test_held_out_loss_is_weighted_by_tokens_overall_and_in_every_group(
    model: Any, tokenized_rows: Callable[..., Rows]
) -> None:
    rows = tokenized_rows(9)
    scores = [loop(model, row.input_ids, row.answer_start) for row in rows]

    def mean(keep: Callable[[TokenizedRow], bool]) -> float:
        kept = [(row, score) for row, score in zip(rows, scores, strict=True) if keep(row)]
        return -sum(score for _, score in kept) / sum(len(row.input_ids) - row.answer_start for row, _ in kept)

    found: Any = measure_heldout_loss(model, rows)
    assert found["loss"] == pytest.approx(mean(lambda row: True), abs=1e-4)
    assert found["tokens"] == sum(len(row.input_ids) - row.answer_start for row in rows)
    assert found["family"].keys() == {"bgp_knowledge", "packet_analysis"}
    assert found["source"].keys() == {"generated", "seed"}
    for column in ("family", "source"):
        for name, group in found[column].items():
            expected = mean(lambda row, column=column, name=name: getattr(row, column) == name)
            assert group["loss"] == pytest.approx(expected, abs=1e-4)


def test_the_prompt_is_never_scored_however_it_was_trained(model: Any, tokenized_rows: Callable[..., Rows]) -> None:
    rows = tokenized_rows(4)
    on_prompt = [replace(row, loss_start=0) for row in rows]
    assert measure_heldout_loss(model, on_prompt) == measure_heldout_loss(model, rows)


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


def prompt_of(row: TokenizedRow) -> list[int]:
    return row.input_ids[: row.answer_start]


def write_and_score(model: Any, rows: Rows, renderer: Renderer, batch_size: int, tokens: int) -> list[Score]:
    eos = int(renderer.tokenizer.eos_token_id)
    answers = NOTHING_KEPT.write(model, ask_rows(rows, tokens), eos, batch_size)
    return score_answers(rows, renderer, answers)


@pytest.mark.parametrize("way", ["own loop", "library, prompts read before", "library"])
@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_batched_answers_equal_greedy_answers_to_one_prompt_at_a_time(
    model: Any, renderer: Renderer, batch_size: int, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the loop for a CPU; by the library, as on CUDA, where prompts may be read in batches of their own."""
    monkeypatch.setattr(generation, "can_decode", lambda model: way == "own loop")
    monkeypatch.setattr(generation, "can_share", lambda model: way != "library")
    monkeypatch.setattr(memory_batches, "CPU_TOKENS", 60)
    rows = [written_row(renderer, number) for number in range(5)]
    rows.append(written_row(renderer, 5, context="10.0.0.0/8 via 192.0.2.1"))
    results = write_and_score(model, rows, renderer, batch_size, 12)
    for row, score in zip(rows, results, strict=True):
        ids = greedy(model, prompt_of(row), 12, renderer.tokenizer.eos_token_id)
        assert score.answer == renderer.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert score.measures == {"truncated": len(ids) == 12}
        assert score.explanation == ("cut after 12 tokens" if len(ids) == 12 else "")
        assert (score.item, score.suite, score.family, score.kind) == (row.id, "test", row.family, "generation")
    assert len({score.answer for score in results}) > 1


@pytest.mark.parametrize("own_loop", [True, False])
@given(
    asked=st.lists(
        st.tuples(st.lists(st.integers(2, 599), min_size=1, max_size=9), st.integers(1, 7)), min_size=1, max_size=8
    ),
    batch_size=st.integers(1, 5),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_answer_ends_at_its_own_limit_whatever_is_written_beside_it(
    model: Any, own_loop: bool, asked: list[tuple[list[int], int]], batch_size: int
) -> None:
    prompts, limits = [ids for ids, _ in asked], [limit for _, limit in asked]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generation, "can_decode", lambda model: own_loop)
        found = generate_answers(model, prompts, -1, batch_size, limits)
    assert found == [greedy(model, ids, limit, eos=-1) for ids, limit in asked]


@pytest.mark.parametrize("own_loop", [True, False])
def test_prompts_of_one_token_are_answered_too(model: Any, own_loop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "can_decode", lambda model: own_loop)
    prompts = [[7], [9], [11, 12, 13]]
    for asked in (prompts, prompts[:2], prompts[:1]):
        found = generate_answers(model, asked, -1, 4, 5)
        assert found == [greedy(model, ids, 5, eos=-1) for ids in asked]


def test_the_end_of_sequence_token_ends_an_answer_while_others_of_the_batch_go_on(
    model: Any, renderer: Renderer
) -> None:
    eos = renderer.tokenizer.eos_token_id
    rows = [written_row(renderer, number) for number in range(4)]
    free = [greedy(model, prompt_of(row), 12, eos=-1) for row in rows]
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
    results = write_and_score(ending, rows, renderer, 4, 12)
    answers = [greedy(ending, prompt_of(row), 12, eos) for row in rows]
    assert any(3 <= len(answer) < 12 for answer in answers)
    assert any(len(answer) == 12 for answer in answers)
    for score, ids in zip(results, answers, strict=True):
        assert score.answer == renderer.tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert score.measures["truncated"] == (len(ids) == 12)


def test_what_the_models_own_generation_config_prefers_does_not_change_the_answers(
    model: Any, renderer: Renderer, caplog: pytest.LogCaptureFixture
) -> None:
    """Chat models come with sampling, a temperature, a penalty and a length; answers are greedy all the same."""
    prompts, eos = [prompt_of(written_row(renderer, number)) for number in range(3)], renderer.tokenizer.eos_token_id
    plain = generate_answers(model, prompts, eos, 4, max_new_tokens=16)
    chatty = copy.deepcopy(model)
    chatty.generation_config.update(
        do_sample=True, temperature=2.0, top_p=0.5, top_k=3, repetition_penalty=1.8, no_repeat_ngram_size=1, num_beams=3
    )
    chatty.generation_config.max_length = 4096
    caplog.clear()
    assert generate_answers(chatty, prompts, eos, 4, max_new_tokens=16) == plain
    assert [record.getMessage() for record in caplog.records] == []


@pytest.mark.parametrize(
    "output", ["The AS path.", "Stop at <|end|> and go on.", "```python\nif x:\n    y = 'é👩'\n```"]
)
def test_the_reference_is_the_output_that_the_row_was_made_of(renderer: Renderer, output: str) -> None:
    score = judge_answer(written_row(renderer, 1, output=f"  {output}\n"), [5, 6], renderer)
    assert score.expected == output


def test_answers_are_scored_with_rouge_l_against_the_reference(renderer: Renderer) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    answer = "A route with the origin IGP is preferred"
    ids = renderer.tokenizer(answer, add_special_tokens=False)["input_ids"]
    score = judge_answer(written_row(renderer, 1, output="The origin IGP is preferred by BGP"), ids, renderer)
    expected = RougeScorer(["rougeL"]).score(score.expected, answer)["rougeL"].fmeasure
    assert score.answer == answer
    assert 0 < expected < 1
    assert score.value == pytest.approx(expected, abs=1e-4)


def test_generation_metrics_are_means_over_the_rows() -> None:
    rows = [
        score_of("generation", 0.5, truncated=1.0),
        score_of("generation", 0.25, truncated=0.0),
        score_of("generation", 0.0, truncated=0.0),
    ]
    assert summarize_answers(rows) == {"rougeL": 0.25, "truncated": 0.3333, "rows": 3}
    assert summarize_answers([]) == {}


def test_no_row_to_answer_gives_no_answer_and_no_line(
    model: Any, renderer: Renderer, capfd: pytest.CaptureFixture[str]
) -> None:
    assert write_and_score(model, [], renderer, 4, 4) == []
    assert score_choices(model, [], renderer) == []
    assert capfd.readouterr() == ("", "")


def test_the_loss_of_a_family_has_an_interval_where_it_has_rows_for_one() -> None:
    rows = [TokenizedRow(f"row-{row}", "ab"[row > 8], "seed", [5] * 9, 1, 1) for row in range(10)]
    scores = [score_of("heldout", 2 + number / 10, tokens=8.0) for number in range(10)]
    found = summarize_heldout(scores, rows)["family"]
    assert isinstance(found, dict)
    assert found["a"]["low"] < found["a"]["loss"] == 2.4 < found["a"]["high"]
    assert found["b"] == {"loss": 2.9}


def named_rows(number: int) -> Rows:
    return [TokenizedRow(f"row-{row}", "bgp_knowledge", "seed", [5, 6, 7], 1, 1) for row in range(number)]


def test_the_sample_does_not_follow_the_order_of_the_file() -> None:
    rows = named_rows(30)
    shuffled = random.Random(0).sample(rows, len(rows))
    chosen = sample_rows(rows, 10)
    assert sample_rows(shuffled, 10) == chosen
    assert len({row.id for row in chosen}) == 10
    assert chosen != sorted(rows, key=lambda row: row.id)[:10], "the first rows are no sample"
    assert {row.id for row in sample_rows(rows, 5)} < {row.id for row in chosen}, (
        "a smaller sample is part of a larger one"
    )


def test_a_sample_is_all_rows_where_there_are_fewer_and_none_for_zero() -> None:
    rows = named_rows(3)
    assert {row.id for row in sample_rows(rows, 10)} == {row.id for row in rows}
    assert sample_rows(rows, 0) == []


def test_a_row_taken_out_changes_one_place_of_the_sample() -> None:
    rows = named_rows(30)
    chosen = {row.id for row in sample_rows(rows, 10)}
    gone = next(row for row in rows if row.id in chosen)
    assert len(chosen & {row.id for row in sample_rows([row for row in rows if row is not gone], 10)}) == 9


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
    assert subtract_metrics(tuned, base) == {
        "heldout": {"loss": -0.4, "family": {"a": {"loss": -0.5}}},
        "choice": {"accuracy": 0.1},
    }


def test_a_number_is_found_under_its_dotted_key() -> None:
    metrics = {"heldout": {"loss": 2.5, "family": {"bgp": {"loss": 2}}}, "rows": 3}
    assert [find_number(metrics, key) for key in ("heldout.loss", "heldout.family.bgp.loss", "rows")] == [2.5, 2, 3]
    assert [find_number(metrics, key) for key in ("heldout", "heldout.loss.x", "choice.accuracy")] == [None] * 3
