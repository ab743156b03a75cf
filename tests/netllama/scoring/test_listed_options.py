"""Options in a list: what a letter's likelihood says of the text behind it, and of its place."""

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.records import Question
from netllama.rendering.question_texts import phrase_listed
from netllama.rendering.renderer import Renderer
from netllama.scoring.choice import score_choices, summarize_choices
from netllama.scoring.listed_options import judge_listed, score_listed
from tests.support.decisive_model import load_decisive_model
from tests.support.given_away import make_question
from tests.support.plain_scores import score_alone

pytestmark = pytest.mark.usefixtures("one_thread")
OPTIONS = ["A path", "A next hop that is reachable", "Nothing", "The origin of the route"]


@pytest.fixture(scope="module")
def model(tiny_model_folder: Path) -> Any:
    return load_decisive_model(tiny_model_folder)


@pytest.fixture
def renderer(tiny_tokenizer: Any) -> Renderer:
    return Renderer(tiny_tokenizer, "chat", "")


def ask(number: int, answer: str = "B", options: int = 4) -> Question:
    return make_question(number, f"What does attribute number {number} carry?", "choice", answer, OPTIONS[:options])


def test_a_question_is_asked_with_its_options_rotated_behind_the_letters() -> None:
    assert phrase_listed(ask(1), 0) == (
        "What does attribute number 1 carry?\n\nA) A path\nB) A next hop that is reachable\nC) Nothing\n"
        "D) The origin of the route\n\nAnswer with the letter of the right option."
    )
    assert phrase_listed(ask(1, options=3), 2).splitlines()[2:5] == [
        "A) Nothing",
        "B) A path",
        "C) A next hop that is reachable",
    ]


@pytest.mark.parametrize("permutations", [1, 2, 4, 9])
def test_measures_are_those_of_a_loop_that_scores_each_letter_of_each_order_alone(
    model: Any, renderer: Renderer, permutations: int
) -> None:
    questions = [ask(number, "ABC"[number % 3], options) for number, options in enumerate((4, 3, 4, 2, 4, 3))]
    questions = [each if each.answer in "ABCD"[: len(each.options)] else ask(9, "A", 2) for each in questions]
    found = score_listed(model, questions, renderer, permutations)
    assert found.keys() == {question.id for question in questions}
    for question in questions:
        number = len(question.options)
        totals, letters = [0.0] * number, []
        for shift in range(min(permutations, number)):
            rotated = [*question.options[shift:], *question.options[:shift]]
            prompt = renderer.render_prompt(phrase_listed(question, shift))
            start = len(renderer.tokenizer(prompt, add_special_tokens=False)["input_ids"])
            scores = []
            for place in range(number):
                ids = renderer.tokenizer(prompt + "ABCD"[place], add_special_tokens=False)["input_ids"]
                scores.append(score_alone(model, ids, start))
                totals[question.options.index(rotated[place])] += scores[-1]
            letters.append(max(range(number), key=scores.__getitem__))
        right = max(range(number), key=totals.__getitem__) == "ABCD".index(question.answer)
        assert found[question.id]["accuracy_listed"] == right
        pairs = [one == other for at, one in enumerate(letters) for other in letters[:at]]
        assert found[question.id].get("follows_position", -1) == (sum(pairs) / len(pairs) if pairs else -1)


def answer_by(question: Question, liking: dict[str, float], places: list[float], permutations: int) -> dict[str, float]:
    """What a model says that likes texts and places by these nats."""
    options = question.options
    return judge_listed(
        question,
        [
            [liking[option] + place for option, place in zip([*options[shift:], *options[:shift]], places, strict=True)]
            for shift in range(permutations)
        ],
    )


@given(st.permutations(range(4)), st.floats(0, 50), st.integers(0, 3))
def test_no_liking_for_a_place_changes_the_answer_where_every_option_stood_in_every_place(
    order: list[int], strength: float, first: int
) -> None:
    question = ask(1, "C")
    liking = dict(zip(OPTIONS, map(float, order), strict=True))
    places = [strength * (place == first) for place in range(4)]
    assert answer_by(question, liking, places, 4)["accuracy_listed"] == (order[2] == 3)


def test_a_model_that_knows_only_texts_follows_no_place_and_one_that_knows_only_places_always_does() -> None:
    liking = dict(zip(OPTIONS, (0.0, 5.0, 1.0, 2.0), strict=True))
    nothing = dict.fromkeys(OPTIONS, 0.0)
    assert answer_by(ask(1), liking, [0.0] * 4, 4) == {"accuracy_listed": 1.0, "follows_position": 0.0}
    assert answer_by(ask(1), nothing, [0.0, 0.0, 3.0, 0.0], 4)["follows_position"] == 1.0
    assert answer_by(ask(1), nothing, [0.0, 0.0, 3.0, 0.0], 1).keys() == {"accuracy_listed"}


def test_a_model_that_draws_letters_follows_the_place_in_one_pair_of_four() -> None:
    draw = random.Random(1)
    shares = [
        judge_listed(ask(1), [[draw.random() for _ in range(4)] for _ in range(4)])["follows_position"]
        for _ in range(2000)
    ]
    assert sum(shares) / len(shares) == pytest.approx(0.25, abs=0.02)


def test_nothing_is_listed_by_default_and_other_scores_stay_as_they_are(model: Any, renderer: Renderer) -> None:
    questions = [ask(1), ask(2, "A"), make_question(3, "An AS has peers.", "true_false", "true")]
    plain, listed = score_choices(model, questions, renderer), score_choices(model, questions, renderer, 4)
    new = {"accuracy_listed", "follows_position"}
    for one, other in zip(plain, listed, strict=True):
        assert not new & one.measures.keys()
        assert other.measures.keys() - one.measures.keys() == (new if one.kind == "choice" else set())
        assert one == other.model_copy(update={"measures": {name: other.measures[name] for name in one.measures}})
    found = summarize_choices(listed)
    assert new <= found["choice"].keys()
    assert not new & found["true_false"].keys()
    assert score_listed(model, questions, renderer, 0) == {}
