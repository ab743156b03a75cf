"""Questions that are longer than what a model reads are refused before anything is scored."""

from typing import Any

import pytest

from netllama.core.errors import StageError
from netllama.core.records import Question
from netllama.rendering.question_texts import phrase_question
from netllama.rendering.renderer import Renderer
from netllama.scoring.question_sizes import require_short_questions
from netllama.scoring.written_parts import ask_code
from netllama.scoring.written_questions import ask_written


@pytest.fixture
def renderer(tiny_tokenizer: Any) -> Renderer:
    return Renderer(tiny_tokenizer, "chat", "")


def make_question(name: str, kind: str, **fields: Any) -> Question:
    shape: dict[str, Any] = {"options": [], "aliases": [], "key_facts": [], "reference": "", "cluster": ""}
    return Question(id=name, family="f", kind=kind, question=f"Which port does {name} use?", **(shape | fields))


def test_a_question_fits_with_its_longest_answer_or_is_named(renderer: Renderer) -> None:
    choice = make_question("q-1", "choice", options=["22", "the port one hundred and seventy-nine"], answer="A")
    written = make_question("q-2", "open", answer="179")
    coded = make_question("q-3", "code", answer="print(179)", scenario="hijack")
    prompted = [(written, ask_written([written], renderer, 30)[0]), (coded, ask_code([coded], renderer, 50)[0])]
    longest = len(renderer.render(phrase_question(choice), choice.options[1]).input_ids) - 1
    sizes = {"q-1": longest} | {question.id: len(asked.ids) + asked.limit for question, asked in prompted}
    require_short_questions([choice], prompted, renderer, max(sizes.values()))
    require_short_questions([choice], prompted, renderer, None)
    for name, size in sizes.items():
        with pytest.raises(StageError, match=rf"{name} \({size}\)"):
            require_short_questions([choice], prompted, renderer, size - 1)


def test_an_error_names_the_longest_and_counts_the_others(renderer: Renderer) -> None:
    asked = [make_question(f"q-{number}", "open", answer="x") for number in range(8)]
    prompts = ask_written(asked, renderer, 10)
    with pytest.raises(
        StageError, match=r"q-7 \(\d+\), q-6 .* q-3 \(\d+\) and 3 more; shorten or remove them, or lower evaluate"
    ):
        require_short_questions([], list(zip(asked, prompts, strict=True)), renderer, 8)
