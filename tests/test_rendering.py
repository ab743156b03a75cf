"""Records into text and ids: the prompt is a prefix, one BOS, EOS last, and no silent merge across the border."""

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stages.core.errors import StageError
from stages.core.records import Instruction, Question
from stages.core.rendering import Renderer, RenderingError, choices, load_renderer, question_request

# As Llama-2-chat writes it; this one refuses a system prompt, as the templates of Gemma do.
LLAMA_2 = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% elif message['role'] == 'user' %}{{ '[INST] ' + message['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
SILENT = "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }}\n{% endif %}{% endfor %}"

TEXTS = st.one_of(
    st.text(max_size=60),
    st.text(alphabet="aZ0 \n\t.,:`'\"()[]/#é中👩\u200d\u0301", max_size=60),
    st.sampled_from(
        ["    if x:\n        return 1", "```python\nimport a\n```", "\n\nlate", " leading", "[/INST]", "🇩🇪"]
    ),
).filter(lambda text: bool(text.strip()) and "<" not in text)


@pytest.fixture(scope="module")
def llama_2(tiny_tokenizer: Any) -> Any:
    """A tokenizer that adds <s> by itself, as Llama's do, with the chat template of Llama 2."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer.from_str(tiny_tokenizer.backend_tokenizer.to_str())
    backend.add_special_tokens(["<s>", "</s>"])
    backend.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", backend.token_to_id("<s>"))])
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")
    fast.chat_template = LLAMA_2
    return fast


def merging_tokenizer() -> Any:
    """One token for a line feed followed by `X`: the end of the Alpaca prompt runs into such an answer."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    characters = ["\n", *map(chr, range(32, 127))]
    vocabulary = {token: index for index, token in enumerate(["<s>", "</s>", *characters, "\nX"])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[("\n", "X")]))
    backend.add_special_tokens(["<s>", "</s>"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="module", params=["tiny chat", "tiny alpaca", "llama-2 chat", "llama-2 alpaca"])
def renderer(request: pytest.FixtureRequest, tiny_tokenizer: Any, llama_2: Any) -> Renderer:
    name, template = request.param.split()
    return Renderer(tiny_tokenizer if name == "tiny" else llama_2, template, "")


@given(request_text=TEXTS, answer=TEXTS)
@example("Why?", "    indented code")
@example("trailing space ", " ")
@example("two\n\nparagraphs", "\u0301combining")
def test_the_prompt_is_a_prefix_and_the_answer_ends_in_the_only_eos_that_is_trained(
    renderer: Renderer, request_text: str, answer: str
) -> None:
    tokenizer = renderer.tokenizer
    rendered = renderer.render(request_text, answer)
    ids, start = rendered.input_ids, rendered.answer_start
    assert ids[:start] == renderer.prompt_ids(request_text)
    assert ids[-1] == tokenizer.eos_token_id
    assert ids[start:].count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(ids[start:-1]).strip() == answer.strip()
    assert tokenizer.decode(ids[:start]) == renderer.prompt(request_text)


@given(request_text=TEXTS, answer=TEXTS)
@pytest.mark.parametrize("template", ["chat", "alpaca"])
def test_there_is_exactly_one_bos_and_it_comes_first(
    llama_2: Any, template: str, request_text: str, answer: str
) -> None:
    ids = Renderer(llama_2, template, "").render(request_text, answer).input_ids
    assert ids[0] == llama_2.bos_token_id
    assert ids.count(llama_2.bos_token_id) == 1


def test_a_tokenizer_that_adds_no_bos_gets_none(tiny_tokenizer: Any) -> None:
    ids = Renderer(tiny_tokenizer, "alpaca", "").render("Why?", "Because.").input_ids
    assert tiny_tokenizer.bos_token_id not in ids


def test_the_llama_2_format_is_written_to_the_letter(llama_2: Any) -> None:
    renderer = Renderer(llama_2, "chat", "")
    assert renderer.prompt("What is BGP?") == "<s>[INST] What is BGP? [/INST]"
    ids = renderer.render("What is BGP?", "A protocol.\n").input_ids
    assert llama_2.decode(ids) == "<s>[INST] What is BGP? [/INST] A protocol. </s>"


def test_the_chat_prompt_ends_where_the_model_speaks(tiny_tokenizer: Any) -> None:
    renderer = Renderer(tiny_tokenizer, "chat", "")
    assert renderer.prompt("Why?") == "<|start|>user\nWhy?<|end|>\n<|start|>assistant\n"
    rendered = renderer.render("Why?", " Because. ")
    # What the template writes below the end-of-sequence token is never generated, and so not trained on.
    assert tiny_tokenizer.decode(rendered.input_ids[rendered.answer_start :]) == "Because.<|end|>"


def test_the_alpaca_format_is_the_one_of_stanford_alpaca(tiny_tokenizer: Any) -> None:
    renderer = Renderer(tiny_tokenizer, "alpaca", "")
    assert renderer.prompt("Name the port.") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nName the port.\n\n### Response:\n"
    )
    task = Instruction(id="1", family="f", source="seed", instruction="Decode.", input="ff\n\n00", output=" Twice.\n")
    assert renderer.prompt(task.instruction, task.input) == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request."
        "\n\n### Instruction:\nDecode.\n\n### Input:\nff\n\n00\n\n### Response:\n"
    )
    rendered = renderer.render(task.instruction, task.output, task.input)
    assert tiny_tokenizer.decode(rendered.input_ids[rendered.answer_start :]) == "Twice.<|end|>"


def test_a_system_prompt_stands_in_front(tiny_tokenizer: Any) -> None:
    chat = Renderer(tiny_tokenizer, "chat", "You know BGP.").prompt("Why?")
    assert chat == "<|start|>system\nYou know BGP.<|end|>\n<|start|>user\nWhy?<|end|>\n<|start|>assistant\n"
    alpaca = Renderer(tiny_tokenizer, "alpaca", "You know BGP.").prompt("Why?")
    assert alpaca.startswith("You know BGP.\n\nBelow is an instruction")


def test_a_system_prompt_that_the_template_refuses_is_one_clear_line(llama_2: Any) -> None:
    with pytest.raises(StageError, match=r"^tokenize\.system_prompt: .*System role not supported\)$"):
        Renderer(llama_2, "chat", "You know BGP.")


def test_a_system_prompt_that_the_template_drops_in_silence_is_an_error(tiny_tokenizer: Any) -> None:
    silent = copy.deepcopy(tiny_tokenizer)
    silent.chat_template = SILENT
    Renderer(silent, "chat", "")
    with pytest.raises(StageError, match=r"^tokenize\.system_prompt: this chat template leaves it out"):
        Renderer(silent, "chat", "You know BGP.")


def test_a_template_that_writes_the_date_gives_the_same_bytes_every_day(tiny_tokenizer: Any) -> None:
    dated = copy.deepcopy(tiny_tokenizer)
    dated.chat_template = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "Today: {{ date_string }}. {{ messages[0]['content'] }}"
    )
    assert Renderer(dated, "chat", "").prompt("Why?") == "Today: 26 Jul 2024. Why?"


def test_a_tokenizer_that_merges_across_the_border_is_an_error() -> None:
    renderer = Renderer(merging_tokenizer(), "alpaca", "")
    assert renderer.render("Why?", "Yes").answer_start == len(renderer.prompt_ids("Why?"))
    with pytest.raises(RenderingError, match="merges the end of the prompt with the start of the answer"):
        renderer.render("Why?", "X is why")


def test_a_tokenizer_without_a_chat_template_says_what_to_use_instead() -> None:
    with pytest.raises(StageError, match=r"^tokenize\.template: this tokenizer has no chat template; use alpaca$"):
        Renderer(merging_tokenizer(), "chat", "")


def test_a_tokenizer_without_an_end_of_sequence_is_refused() -> None:
    tokenizer = merging_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(StageError, match="no end-of-sequence token"):
        Renderer(tokenizer, "alpaca", "")


def test_a_saved_tokenizer_renders_as_before(tiny_tokenizer: Any, tmp_path: Path) -> None:
    tiny_tokenizer.save_pretrained(tmp_path)
    loaded = load_renderer(tmp_path, "chat", "")
    assert loaded.render("Why?", "Because.") == Renderer(tiny_tokenizer, "chat", "").render("Why?", "Because.")


def test_a_tokenizer_that_was_not_fetched_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=rf"^{tmp_path}/tokenizer: no such folder; run `dvc repro fetch`$"):
        load_renderer(tmp_path / "tokenizer", "chat", "")


def question(**changes: Any) -> Question:
    fields = {"id": "q", "family": "f", "kind": "choice", "question": "Which?", "options": ["x", "y", "z"]}
    fields |= {"answer": "B", "aliases": [], "key_facts": [], "reference": "r", "cluster": ""}
    return Question(**(fields | changes))


def test_a_closed_question_is_answered_by_the_text_of_an_option() -> None:
    assert question_request(question()) == "Which?"
    assert choices(question()) == (["x", "y", "z"], 1)


@pytest.mark.parametrize(("answer", "right"), [("true", "True"), ("false", "False")])
def test_a_true_or_false_question_says_so_and_has_two_answers(answer: str, right: str) -> None:
    asked = question(kind="true_false", options=[], answer=answer)
    assert question_request(asked) == "True or false? Which?"
    texts, position = choices(asked)
    assert texts == ["True", "False"]
    assert texts[position] == right
