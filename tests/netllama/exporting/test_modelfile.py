"""Ollama's template is the one that renders what was trained, and no other; what stands in a Modelfile reads back."""

import re
from typing import Any

import pytest

from netllama.core.errors import StageError
from netllama.exporting.modelfile import TEMPLATES, build_modelfile, recognise_template
from netllama.exporting.served_template import build_served_template
from netllama.rendering.renderer import Renderer
from tests.support.tokenizers_of_kinds import make_byte_level

# Chat templates that render what the models' own do; the wording is ours.
CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nBe brief.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA_2 = (
    "{% set system = '' %}{% if messages[0].role == 'system' %}"
    "{% set system = '<<SYS>>\\n' + messages[0].content + '\\n<</SYS>>\\n\\n' %}"
    "{% set messages = messages[1:] %}{% endif %}"
    "{% for message in messages %}{% if message.role == 'user' %}"
    "{{ bos_token }}[INST] {{ (system if loop.first else '') + message.content.strip() }} [/INST]"
    "{% else %} {{ message.content.strip() }} {{ eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = (
    "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
    "{% set system = '' %}{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
    "{% set messages = messages[1:] %}{% endif %}"
    "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: {{ date_string }}\n\n{{ system }}<|eot_id|>"
    "{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
TODAY = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
SYSTEM = 'You analyse "networks".\n\nBe exact: é 🛰'
CASES = {
    "ChatML, its own system text": ("ChatML", CHATML, "<|im_start|>", False, "", "Be brief."),
    "ChatML": ("ChatML", CHATML, "<|im_start|>", False, SYSTEM, SYSTEM),
    "Llama 2 chat, no system text": ("Llama 2 chat", LLAMA_2, "<s>", True, "", ""),
    "Llama 2 chat": ("Llama 2 chat", LLAMA_2, "<s>", True, SYSTEM, SYSTEM),
    "Llama 3.1, its own system text": ("Llama 3.1", LLAMA_3, "<|begin_of_text|>", True, "", TODAY),
    "Llama 3.1": ("Llama 3.1", LLAMA_3, "<|begin_of_text|>", True, SYSTEM, TODAY + SYSTEM),
    "Alpaca, no system text": ("Alpaca", "", "<s>", True, "", ""),
    "Alpaca": ("Alpaca", "", "<s>", False, SYSTEM, SYSTEM),
}


def make_tokenizer(chat_template: str, bos: str, adds_bos: bool) -> Any:
    tokenizer = make_byte_level("gpt-2", bos, adds_bos)
    tokenizer.chat_template = chat_template or None
    return tokenizer


def parse_modelfile(text: str) -> dict[str, list[str]]:
    """Values by instruction, as Ollama reads them: in three quotes verbatim, else the rest of the line."""
    values: dict[str, list[str]] = {}
    for name, quoted, line in re.findall(r'^([A-Z]+) (?:"""(.*?)"""|([^\n]*))$', text, re.DOTALL | re.MULTILINE):
        values.setdefault(name, []).append(quoted or line)
    return values


@pytest.mark.parametrize(("name", "chat", "bos", "adds_bos", "system", "expected"), CASES.values(), ids=CASES)
def test_a_template_is_recognised_by_what_it_renders(
    name: str, chat: str, bos: str, adds_bos: bool, system: str, expected: str
) -> None:
    tokenizer = make_tokenizer(chat, bos, adds_bos)
    renderer = Renderer(tokenizer, "chat" if chat else "alpaca", system)
    tokenizer.chat_template = build_served_template(renderer)
    template, found = recognise_template(tokenizer, adds_bos)
    assert (template.name, found) == (name, expected)
    values = parse_modelfile(build_modelfile("model.gguf", template, found, ["<|eos|>"]))
    assert values["FROM"] == ["./model.gguf"]
    assert values.get("SYSTEM", [""]) == [expected]
    assert 'stop "<|eos|>"' in values["PARAMETER"]
    # What the server renders of the file, with the token that it begins each text with, is what was trained.
    for request in ("Who announces 192.0.2.0/24?", "two\nlines {{ x }}"):
        rendered = (bos if adds_bos else "") + template.render(values.get("SYSTEM", [""])[0], request)
        assert rendered == renderer.render_prompt(request)
    assert template.text == values["TEMPLATE"][0]


@pytest.mark.parametrize(
    "chat",
    [
        "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}<|assistant|>",
        CHATML.replace("assistant\n", "assistant"),
        CHATML.replace("<|im_end|>\n{% endfor", "<|im_end|>{% endfor"),
        LLAMA_2.replace("[INST] ", "[INST]"),
        LLAMA_3.replace("{% if add_gen", "<|reserved|>{% if add_gen"),
        LLAMA_3.replace("26 Jul", "").replace("{{ date_string }}", "{{ messages[-1].content | length }}"),
    ],
    ids=["unknown", "ChatML, a line less", "ChatML, turns on one line", "Llama 2, no space", "a token more", "varies"],
)
def test_a_template_that_is_nearly_one_of_them_is_refused(chat: str) -> None:
    tokenizer = make_tokenizer(chat, "<s>", False)
    with pytest.raises(
        StageError, match=r"renders as none of those that Ollama is known to have \(ChatML, Llama 2 chat"
    ):
        recognise_template(tokenizer, False)


def test_a_system_text_that_a_modelfile_can_not_hold_is_refused() -> None:
    with pytest.raises(StageError, match="can't hold"):
        build_modelfile("model.gguf", TEMPLATES[0], 'three """ quotes', [])


def test_a_stop_is_written_once() -> None:
    text = build_modelfile("model.gguf", TEMPLATES[0], "", ["<|im_end|>"])
    assert text.count('stop "<|im_end|>"') == 1
    assert "SYSTEM" not in text
    assert text.endswith("PARAMETER temperature 0\n")
