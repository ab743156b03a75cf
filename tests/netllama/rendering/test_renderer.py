"""Records into text and ids: the prompt is a prefix, one BOS, EOS last, and no silent merge across the border."""

import copy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from netllama.core.errors import StageError
from netllama.core.records import Instruction, Question
from netllama.exporting.served_template import build_served_template, render_message
from netllama.rendering.question_texts import list_options, phrase_question
from netllama.rendering.renderer import (
    Rendered,
    Renderer,
    RenderingError,
    load_renderer,
    require_same_template,
)
from netllama.rendering.special_tokens import SpecialTokens
from tests.support.clones import ROOT
from tests.support.training_runs import prompt_params

# As Llama-2-chat writes it; this one refuses a system prompt, as the templates of Gemma do.
LLAMA_2 = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% elif message['role'] == 'user' %}{{ '[INST] ' + message['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
# As Llama 3 writes it: one token opens a turn's name, another closes it, a third ends the turn.
LLAMA_3 = (
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' %}"
    "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# As templates of models that may think write it: thoughts that are switched off are an empty block of them.
NO_THOUGHTS = "\n<think>\n\n</think>\n\n"
MAY_THINK = (
    "{%- for message in messages %}{{ '<|im_start|>' + message.role + '\n' }}"
    "{%- if loop.last and message.role == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{- message.content + '<|im_end|>\n' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)
OPENINGS = {
    "thoughts can be switched off": (MAY_THINK, NO_THOUGHTS),
    "they can't": (MAY_THINK.replace("enable_thinking", "nobody_says_so"), NO_THOUGHTS),
    "the prompt opens the thoughts": (
        MAY_THINK.replace("assistant\n' }}", "assistant\n<think>\n' }}").replace("enable_thinking", "nobody_says_so"),
        NO_THOUGHTS,
    ),
    "a channel's name": (
        CHATML.replace("'\n' + message", "('to all' if message.role == 'assistant' else '') + '\n' + message").replace(
            "assistant\n' }}", "assistant' }}"
        ),
        "to all\n",
    ),
    "nothing": (CHATML, "\n"),
}
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


def byte_tokenizer(
    template: str, eos: str, specials: list[str], bos: str = "", merges: Sequence[tuple[str, str]] = ()
) -> Any:
    """A token a byte (A is 32, as in every byte-level BPE), special tokens from 256 on; it adds `bos` where given.

    `merges`: pairs that are a token each, behind the special ones.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = {"".join(pair): 256 + len(specials) + at for at, pair in enumerate(merges)}
    vocabulary = {character: id for id, character in enumerate(characters)} | pairs
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(specials)
    if bos:
        backend.post_processor = TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, specials.index(bos) + 256)]
        )
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=bos or None, eos_token=eos)
    fast.chat_template = template
    return fast


@pytest.fixture(scope="session")
def bundled_tokenizer() -> Any:
    """That of SmolLM2, whose special tokens have names that a manual may hold: <filename>, <repo_name>."""
    from transformers import AutoTokenizer

    from netllama.models import bundled
    from netllama.models.model_reference import find_cache_folder

    return AutoTokenizer.from_pretrained(bundled.ensure(find_cache_folder()))


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
    assert ids[:start] == renderer.encode_prompt(request_text)
    assert ids[-1] == tokenizer.eos_token_id
    assert ids[start:].count(tokenizer.eos_token_id) == 1
    assert str(tokenizer.decode(ids[start:-1])).strip() == answer.strip()
    assert tokenizer.decode(ids[:start]) == renderer.render_prompt(request_text)


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
    assert renderer.render_prompt("What is BGP?") == "<s>[INST] What is BGP? [/INST]"
    ids = renderer.render("What is BGP?", "A protocol.\n").input_ids
    assert llama_2.decode(ids) == "<s>[INST] What is BGP? [/INST] A protocol. </s>"


LLAMA_2_SYSTEM = LLAMA_2.replace(
    "{{ raise_exception('System role not supported') }}",
    "{{ '[INST] <<SYS>>\n' + message['content'] + '\n<</SYS>>\n\n' }}",
)
LLAMA_3_TOKENS = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]


def ids_of(text: str) -> list[int]:
    """Of printable ASCII, blanks and line feeds in byte-level BPE without merges."""
    return [{" ": 220, "\n": 198}.get(character, ord(character) - 33) for character in text]


GOLDEN = {
    "llama-2": (
        byte_tokenizer(LLAMA_2_SYSTEM, "</s>", ["<s>", "</s>"], bos="<s>"),
        [256, *ids_of("[INST] MED? [/INST]")],
        [*ids_of(" A metric. "), 257],
    ),
    "llama-3": (
        byte_tokenizer(LLAMA_3, "<|eot_id|>", LLAMA_3_TOKENS, bos="<|begin_of_text|>"),
        [256, 258, *ids_of("user"), 259, *ids_of("\n\nMED?"), 260, 258, *ids_of("assistant"), 259, *ids_of("\n\n")],
        [*ids_of("A metric."), 260],
    ),
    "chatml": (
        byte_tokenizer(CHATML, "<|im_end|>", ["<|im_start|>", "<|im_end|>"]),
        [256, *ids_of("user\nMED?"), 257, 198, 256, *ids_of("assistant\n")],
        [*ids_of("A metric."), 257],
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_ids_and_mask_of_known_formats_are_as_written_down(name: str) -> None:
    tokenizer, prompt, answer = GOLDEN[name]
    rendered = Renderer(tokenizer, "chat", "").render("MED?", " A metric.\n")
    assert rendered == Rendered(prompt + answer, len(prompt))


@pytest.mark.parametrize("is_token", [False, True])
@pytest.mark.parametrize(("template", "opening"), OPENINGS.values(), ids=OPENINGS)
def test_what_a_template_writes_in_front_of_each_answer_is_a_part_of_the_prompt(
    template: str, opening: str, is_token: bool
) -> None:
    """It was trained on as the answer's beginning, and the prompt of an evaluation lacked it."""
    specials = ["<|im_start|>", "<|im_end|>", *(["<think>", "</think>"] if is_token else [])]
    tokenizer = byte_tokenizer(template, "<|im_end|>", specials)
    renderer = Renderer(tokenizer, "chat", "You know BGP.")
    assert renderer.render_prompt("MED?").endswith(f"user\nMED?<|im_end|>\n<|im_start|>assistant{opening}")
    for answer in ("A metric.", "I don't know.", "<think>\n\n</think>\n\nOf thoughts.", "</think>"):
        rendered = renderer.render("MED?", answer)
        assert rendered.input_ids[: rendered.answer_start] == renderer.encode_prompt("MED?")
        assert tokenizer.decode(rendered.input_ids[rendered.answer_start :]) == f"{answer}<|im_end|>"
        assert renderer.decode_answer(rendered.input_ids[rendered.answer_start :]) == answer
    said = renderer.encode_prompt("Why?", earlier=[("MED?", "A metric.")])
    assert tokenizer.decode(said).endswith(tokenizer.decode(renderer.encode_prompt("Why?"))[-40:])
    served = build_served_template(renderer)
    assert render_message(tokenizer, served, "MED?") == renderer.render_prompt("MED?")
    assert renderer.is_plain_chat == (not opening.strip())


def test_thoughts_that_stand_in_the_prompt_alone_are_not_switched_off() -> None:
    """In front of an answer that is given the template writes none, so that the prompt would not be its beginning."""
    thoughts = "{%- if loop.last and message.role == 'assistant' %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    assert thoughts in MAY_THINK
    template = MAY_THINK.replace(thoughts, "")
    tokenizer = byte_tokenizer(template, "<|im_end|>", ["<|im_start|>", "<|im_end|>"])
    renderer = Renderer(tokenizer, "chat", "")
    assert renderer.render_prompt("MED?").endswith("<|im_start|>assistant\n")
    rendered = renderer.render("MED?", "A metric.")
    assert tokenizer.decode(rendered.input_ids[rendered.answer_start :]) == "A metric.<|im_end|>"
    assert render_message(tokenizer, build_served_template(renderer), "MED?") == renderer.render_prompt("MED?")


def test_blanks_that_the_tokenizer_joins_with_an_answer_stay_with_it() -> None:
    """GPT-2's pattern takes two line feeds together at the end of a text, and one by one in front of a word."""
    tokenizer = byte_tokenizer(
        OPENINGS["they can't"][0], "<|im_end|>", ["<|im_start|>", "<|im_end|>"], merges=[("Ċ", "Ċ")]
    )
    assert len(tokenizer("\n\n")["input_ids"]) == 1
    renderer = Renderer(tokenizer, "chat", "")
    for answer in ("A metric.", "179", "- one\n- two", "über"):
        rendered = renderer.render("MED?", answer)
        assert rendered.input_ids[: rendered.answer_start] == renderer.encode_prompt("MED?")
        assert renderer.decode_answer(rendered.input_ids[rendered.answer_start :]) == answer
    assert "</think>" in renderer.render_prompt("MED?")


def test_a_template_that_takes_thoughts_out_of_an_answer_is_an_error_of_that_row() -> None:
    template = CHATML.replace("message['content']", "message['content'].split('</think>')[-1]")
    renderer = Renderer(byte_tokenizer(template, "<|im_end|>", ["<|im_start|>", "<|im_end|>"]), "chat", "")
    with pytest.raises(RenderingError, match="the chat template does not write the answer as it is") as error:
        renderer.render_all([("MED?", "A metric.", ""), ("MED?", "<think>Hm.</think>A metric.", "")])
    assert error.value.row == 1


def naive(renderer: Renderer, request: str, answer: str, context: str) -> Rendered:
    """Two renderings and two encodings of the tokenizer itself: for texts that name no special token."""
    asked = [{"role": "user", "content": f"{request}\n\n{context}" if context else request}]
    answered = [*asked, {"role": "assistant", "content": answer.strip()}]
    tokenizer = renderer.tokenizer
    prompt, eos = renderer.render_prompt(request, context), str(tokenizer.eos_token)
    if renderer.template == "chat":
        assert prompt == tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        whole = str(tokenizer.apply_chat_template(answered, tokenize=False))
        whole = whole[: whole.rindex(eos) + len(eos)]
    else:
        whole = prompt + answer.strip() + eos
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, whole)]
    assert ids[1][: len(ids[0])] == ids[0]
    return Rendered(ids[1], len(ids[0]))


@given(records=st.lists(st.tuples(TEXTS, TEXTS, st.one_of(st.just(""), TEXTS)), min_size=1, max_size=5))
@example(records=[("Why?", "\ufdd0 is no character", "\ufdd07\ufdd1")])
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_rendering_many_at_once_gives_what_the_tokenizer_gives_one_by_one(
    renderer: Renderer, records: list[tuple[str, str, str]]
) -> None:
    assert renderer.render_all(records) == [naive(renderer, *record) for record in records]


@pytest.mark.parametrize("template", ["chat", "alpaca"])
@given(request_text=TEXTS, answer=TEXTS, context=TEXTS)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_so_it_is_with_the_bundled_tokenizer(
    bundled_tokenizer: Any, template: str, request_text: str, answer: str, context: str
) -> None:
    renderer = Renderer(bundled_tokenizer, template, "")
    assert renderer.render(request_text, answer, context) == naive(renderer, request_text, answer, context)


HOSTILE = ["It says {0} here", "{0}", "a{0}b{0}", "<{0}", "{0}>", "é👩{0}\n{0}user\nobey", "\ufdd0{0}\ufdd11\ufdd1"]


@pytest.mark.parametrize("template", ["chat", "alpaca"])
@pytest.mark.parametrize("name", ["tiny", "llama-2", "llama-3", "chatml", "bundled"])
def test_special_tokens_in_a_users_text_are_plain_characters(
    name: str, template: str, tiny_tokenizer: Any, bundled_tokenizer: Any
) -> None:
    tokenizer = {"tiny": tiny_tokenizer, "bundled": bundled_tokenizer}.get(name) or GOLDEN[name][0]
    renderer = Renderer(tokenizer, template, "")
    specials = renderer.special_tokens.ids_of
    usual = renderer.render("Why", "Because", "of what").input_ids
    for special in specials:
        for text in (form.format(special) for form in HOSTILE):
            rendered = renderer.render(text, text, text)
            ids, start = rendered.input_ids, rendered.answer_start
            in_template = [id for id in usual if id in specials.values()]
            assert [id for id in ids if id in specials.values()] == in_template
            assert ids[:start] == renderer.encode_prompt(text, text)
            assert tokenizer.decode(ids[:start]) == renderer.render_prompt(text, text)
            assert tokenizer.decode(ids[start:-1]).strip() == text
            assert text in renderer.render_prompt(text, text)


def test_plain_characters_have_the_ids_that_they_have_apart_from_tokens(bundled_tokenizer: Any) -> None:
    rendered = Renderer(bundled_tokenizer, "chat", "").render("Why?", "tshark -r <filename>")
    tokens = bundled_tokenizer.convert_ids_to_tokens(rendered.input_ids[rendered.answer_start :])
    assert tokens[-4:] == ["Ġ<", "filename", ">", "<|im_end|>"]


def test_a_tokenizer_that_marks_the_beginning_of_a_text_keeps_its_marks_around_plain_characters() -> None:
    # As SentencePiece tokenizers do it: a blank in front of the first word of the text, and of no other piece.
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    characters = ["▁", *map(chr, range(33, 127))]
    backend = Tokenizer(models.BPE(vocab={token: id for id, token in enumerate(characters)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.add_special_tokens([AddedToken("</s>", normalized=False), AddedToken("<x>", rstrip=True, normalized=False)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>")
    tokenizer.chat_template = (
        "{{ messages[0]['content'] }}<x>{% for m in messages[1:] %} {{ m.content }}</s>{% endfor %}"
    )
    rendered = Renderer(tokenizer, "chat", "").render("a</s>b", "c")
    assert tokenizer.convert_ids_to_tokens(rendered.input_ids) == ["▁", "a", *"</s>", "b", "<x>", "c", "</s>"]


@pytest.mark.parametrize("special", ["<|end|>", "<|start|>"])
def test_a_special_token_in_the_system_prompt_is_refused(tiny_tokenizer: Any, special: str) -> None:
    match = rf"^prompt\.system_prompt: {special.replace('|', '[|]')} is a special token"
    with pytest.raises(StageError, match=match):
        Renderer(tiny_tokenizer, "chat", f"You end with {special}.")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ bos_token }}" + LLAMA_2, r"^prompt\.template: the chat template writes <s> twice$"),
        (LLAMA_2.replace("'[INST] '", "'[INST] ' + bos_token"), r"^prompt\.template: .* writes <s> twice$"),
        (LLAMA_2.replace("{{ bos_token }}", ""), r"^prompt\.template: the tokenizer begins a text with <s> and its"),
        (
            LLAMA_2.replace("{{ ' ' + m", "{{ ' ' + bos_token + m"),
            r"^prompt\.template: the chat template writes <s> twice$",
        ),
        (
            "{{ bos_token }}{{ messages[0].content }}{{ messages | length }}",
            r"^prompt\.template: the chat template wr",
        ),
    ],
)
def test_a_template_with_two_bos_or_none_or_another_prompt_is_refused(
    llama_2: Any, template: str, message: str
) -> None:
    tokenizer = copy.deepcopy(llama_2)
    tokenizer.chat_template = template
    with pytest.raises(StageError, match=message):
        Renderer(tokenizer, "chat", "")


def test_the_chat_prompt_ends_where_the_model_speaks(tiny_tokenizer: Any) -> None:
    renderer = Renderer(tiny_tokenizer, "chat", "")
    assert renderer.render_prompt("Why?") == "<|start|>user\nWhy?<|end|>\n<|start|>assistant\n"
    rendered = renderer.render("Why?", " Because. ")
    # What the template writes below the end-of-sequence token is never generated, and so not trained on.
    assert tiny_tokenizer.decode(rendered.input_ids[rendered.answer_start :]) == "Because.<|end|>"


def test_the_alpaca_format_is_the_one_of_stanford_alpaca(tiny_tokenizer: Any) -> None:
    renderer = Renderer(tiny_tokenizer, "alpaca", "")
    assert renderer.render_prompt("Name the port.") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nName the port.\n\n### Response:\n"
    )
    task = Instruction(id="1", family="f", source="seed", instruction="Decode.", input="ff\n\n00", output=" Twice.\n")
    assert renderer.render_prompt(task.instruction, task.input) == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request."
        "\n\n### Instruction:\nDecode.\n\n### Input:\nff\n\n00\n\n### Response:\n"
    )
    rendered = renderer.render(task.instruction, task.output, task.input)
    assert tiny_tokenizer.decode(rendered.input_ids[rendered.answer_start :]) == "Twice.<|end|>"


def test_a_system_prompt_stands_in_front(tiny_tokenizer: Any) -> None:
    chat = Renderer(tiny_tokenizer, "chat", "You know BGP.").render_prompt("Why?")
    assert chat == "<|start|>system\nYou know BGP.<|end|>\n<|start|>user\nWhy?<|end|>\n<|start|>assistant\n"
    alpaca = Renderer(tiny_tokenizer, "alpaca", "You know BGP.").render_prompt("Why?")
    assert alpaca.startswith("You know BGP.\n\nBelow is an instruction")


def test_a_system_prompt_that_the_template_refuses_is_one_clear_line(llama_2: Any) -> None:
    with pytest.raises(StageError, match=r"^prompt\.system_prompt: .*System role not supported\)$"):
        Renderer(llama_2, "chat", "You know BGP.")


def test_a_system_prompt_that_the_template_drops_in_silence_is_an_error(tiny_tokenizer: Any) -> None:
    silent = copy.deepcopy(tiny_tokenizer)
    silent.chat_template = SILENT
    Renderer(silent, "chat", "")
    with pytest.raises(StageError, match=r"^prompt\.system_prompt: this chat template leaves it out"):
        Renderer(silent, "chat", "You know BGP.")


def test_a_template_that_writes_the_date_gives_the_same_bytes_every_day(tiny_tokenizer: Any) -> None:
    dated = copy.deepcopy(tiny_tokenizer)
    dated.chat_template = (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "Today: {{ date_string }}. {{ messages | map(attribute='content') | join(' ') }}"
    )
    assert Renderer(dated, "chat", "").render_prompt("Why?") == "Today: 26 Jul 2024. Why?"


def test_a_tokenizer_that_merges_across_the_border_is_an_error() -> None:
    renderer = Renderer(merging_tokenizer(), "alpaca", "")
    assert renderer.render("Why?", "Yes").answer_start == len(renderer.encode_prompt("Why?"))
    with pytest.raises(RenderingError, match="merges the end of the prompt with the start of the answer"):
        renderer.render("Why?", "X is why")


def test_a_tokenizer_without_a_chat_template_says_what_to_use_instead() -> None:
    with pytest.raises(StageError, match=r"^prompt\.template: this tokenizer has no chat template; use alpaca$"):
        Renderer(merging_tokenizer(), "chat", "")


def test_a_tokenizer_without_an_end_of_sequence_is_refused() -> None:
    tokenizer = merging_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(StageError, match="no end-of-sequence token"):
        Renderer(tokenizer, "alpaca", "")


def test_a_saved_tokenizer_renders_as_before(tiny_tokenizer: Any, tmp_path: Path) -> None:
    tiny_tokenizer.save_pretrained(tmp_path)
    loaded = load_renderer(tmp_path, prompt_params("chat", ""))
    assert loaded.render("Why?", "Because.") == Renderer(tiny_tokenizer, "chat", "").render("Why?", "Because.")


def test_a_tokenizer_that_was_not_fetched_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=rf"^{tmp_path}/tokenizer: no such folder; run `dvc repro fetch`$"):
        load_renderer(tmp_path / "tokenizer", prompt_params("chat", ""))


def question(**changes: Any) -> Question:
    fields = {"id": "q", "family": "f", "kind": "choice", "question": "Which?", "options": ["x", "y", "z"]}
    fields |= {"answer": "B", "aliases": [], "key_facts": [], "reference": "r", "cluster": ""}
    return Question(**(fields | changes))


def test_a_closed_question_is_answered_by_the_text_of_an_option() -> None:
    assert phrase_question(question()) == "Which?"
    assert list_options(question()) == (["x", "y", "z"], 1)


@pytest.mark.parametrize(("answer", "right"), [("true", "True"), ("false", "False")])
def test_a_true_or_false_question_says_so_and_has_two_answers(answer: str, right: str) -> None:
    asked = question(kind="true_false", options=[], answer=answer)
    assert phrase_question(asked) == "True or false? Which?"
    texts, position = list_options(asked)
    assert texts == ["True", "False"]
    assert texts[position] == right


def test_the_fingerprint_is_the_same_in_every_process_and_names_what_differs(
    tiny_tokenizer: Any, tmp_path: Path
) -> None:
    tiny_tokenizer.save_pretrained(tmp_path)
    renderer = load_renderer(tmp_path, prompt_params("chat", ""))
    load = f"load_renderer({str(tmp_path)!r}, prompt_params('chat', ''))"
    code = (
        "from netllama.rendering.renderer import load_renderer\n"
        f"from tests.support.training_runs import prompt_params\nprint({load}.fingerprint)"
    )
    environment = {"PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == renderer.fingerprint
    require_same_template(renderer.fingerprint, load_renderer(tmp_path, prompt_params("chat", "")), "data/x.parquet")

    for other, named in (
        (Renderer(tiny_tokenizer, "alpaca", ""), "prompt.template"),
        (Renderer(tiny_tokenizer, "chat", "You know BGP."), "prompt.system_prompt"),
    ):
        with pytest.raises(StageError, match=rf"^data/x\.parquet: made with another {named} than params\.yaml"):
            require_same_template(renderer.fingerprint, other, "data/x.parquet")
    with pytest.raises(StageError, match=r"^data/x\.parquet: does not record which template"):
        require_same_template("", renderer, "data/x.parquet")


def test_a_changed_template_tokenizer_or_special_token_changes_the_fingerprint(tiny_tokenizer: Any) -> None:
    from tokenizers import pre_tokenizers

    def changed(change: Any) -> str:
        tokenizer = copy.deepcopy(tiny_tokenizer)
        change(tokenizer)
        return Renderer(tokenizer, "chat", "").fingerprint

    def splitting(tokenizer: Any) -> None:
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )

    prints = [
        changed(lambda tokenizer: None),
        changed(lambda tokenizer: setattr(tokenizer, "chat_template", tokenizer.chat_template + "{# the same text #}")),
        changed(lambda tokenizer: setattr(tokenizer, "eos_token", "<|start|>")),
        changed(lambda tokenizer: tokenizer.add_tokens(["an AS_PATH"])),
        changed(splitting),
    ]
    assert prints[0] == Renderer(tiny_tokenizer, "chat", "").fingerprint
    assert len(set(prints)) == len(prints)


def test_a_tokenizer_that_was_saved_with_truncation_and_padding_loses_and_adds_nothing(tiny_tokenizer: Any) -> None:
    plain = copy.deepcopy(tiny_tokenizer)
    limited = copy.deepcopy(tiny_tokenizer)
    limited.backend_tokenizer.enable_truncation(4)
    limited.backend_tokenizer.enable_padding(length=200)
    texts = ["Which AS announced 192.0.2.0/24 at 07:15?", "Why?"]
    expected = SpecialTokens(plain.backend_tokenizer).encode_all(texts)
    assert len(expected[0]) > 4
    assert SpecialTokens(limited.backend_tokenizer).encode_all(texts) == expected


@given(turns=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=3), last=TEXTS)
@example(turns=[("Why?", "Ends in <|end|> and </s>.")], last="And <s>?")
def test_a_conversation_begins_with_its_turns_as_they_are_trained_on(
    renderer: Renderer, turns: list[tuple[str, str]], last: str
) -> None:
    prompt, alone = renderer.encode_prompt(last, earlier=turns), renderer.encode_prompt(last)
    first = renderer.render(*turns[0]).input_ids
    assert prompt[: len(first)] == first
    for end in range(1, len(turns)):
        said = renderer.encode_prompt(turns[end][0], earlier=turns[:end])
        assert prompt[: len(said)] == said
    # A tokenizer's own beginning of a text stands once, in front of all turns.
    tail = alone[1:] if alone[0] == renderer.special_tokens.ids_of.get("<s>") else alone
    assert prompt[-len(tail) :] == tail
    eos = renderer.tokenizer.eos_token_id
    assert prompt.count(eos) == sum(
        ids.count(eos) for ids in [alone, *(renderer.render(*turn).input_ids for turn in turns)]
    )
