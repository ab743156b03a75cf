"""A Modelfile for Ollama: the GGUF file, the template that was trained, its stop tokens and its system text.

Ollama does not run the Jinja template of a GGUF file, it has templates of its own in Go's language. A wrong one gives
answers that look like those of a bad model. So there is a fixed set, and the one is taken that renders, character for
character, what the merged model's chat template renders; where none does, the export is refused.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from netllama.core.errors import StageError
from netllama.exporting.served_template import render_message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_IF = re.compile(r"{{ if \.System }}(.*?){{ end }}", re.DOTALL)
_PROBES = ("probe", "Which AS announced\n192.0.2.0/24?")


@dataclass(frozen=True)
class OllamaTemplate:
    name: str
    text: str
    """In Go's template language; of it only {{ if .System }} and the three fields are used."""
    stops: tuple[str, ...]
    """What ends an answer besides the end-of-sequence token: a turn that the model would write for the user."""

    def render(self, system: str, prompt: str) -> str:
        """The text up to where the model answers, as Ollama renders it."""
        text = _IF.sub(lambda found: found[1] if system else "", self.text.partition("{{ .Response }}")[0])
        return text.replace("{{ .System }}", system).replace("{{ .Prompt }}", prompt)

    def find_system(self, rendered: str, prompt: str) -> str | None:
        """The system text with which this template renders so; empty: without any; None: it can't."""
        before, _, after = self.render("\0", prompt).partition("\0")
        inner = rendered[len(before) : len(rendered) - len(after)]
        return next((system for system in ("", inner) if self.render(system, prompt) == rendered), None)


TEMPLATES = (
    OllamaTemplate(
        "ChatML",
        "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}"
        "<|im_start|>user\n{{ .Prompt }}<|im_end|>\n<|im_start|>assistant\n{{ .Response }}<|im_end|>\n",
        ("<|im_start|>", "<|im_end|>"),
    ),
    OllamaTemplate(
        "Llama 2 chat",
        # The space in front of an answer is its first token's, so the prompt ends without one.
        "[INST] {{ if .System }}<<SYS>>\n{{ .System }}\n<</SYS>>\n\n{{ end }}{{ .Prompt }} [/INST]{{ .Response }}</s>",
        ("[INST]",),
    ),
    OllamaTemplate(
        "Llama 3.1",
        "{{ if .System }}<|start_header_id|>system<|end_header_id|>\n\n{{ .System }}<|eot_id|>{{ end }}"
        "<|start_header_id|>user<|end_header_id|>\n\n{{ .Prompt }}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n{{ .Response }}<|eot_id|>",
        ("<|start_header_id|>", "<|eot_id|>"),
    ),
    OllamaTemplate(
        "Alpaca",
        "{{ if .System }}{{ .System }}\n\n{{ end }}Below is an instruction that describes a task. Write a response "
        "that appropriately completes the request.\n\n### Instruction:\n{{ .Prompt }}\n\n"
        "### Response:\n{{ .Response }}\n\n",
        ("### Instruction:",),
    ),
)


def recognise_template(tokenizer: "PreTrainedTokenizerBase", add_bos: bool) -> tuple[OllamaTemplate, str]:
    """The template that renders as the tokenizer's chat template does, and its system text; StageError: none.

    With `add_bos` the server begins each text with the beginning-of-sequence token itself.
    """
    bos = str(tokenizer.bos_token) if add_bos else ""
    rendered = [render_message(tokenizer, str(tokenizer.chat_template), prompt).removeprefix(bos) for prompt in _PROBES]
    for template in TEMPLATES:
        systems = {template.find_system(text, prompt) for text, prompt in zip(rendered, _PROBES, strict=True)}
        if len(systems) == 1 and (system := systems.pop()) is not None:
            return template, system
    names = ", ".join(template.name for template in TEMPLATES)
    raise StageError(f"chat template: it renders as none of those that Ollama is known to have ({names})")


def build_modelfile(weights: str, template: OllamaTemplate, system: str, stops: Sequence[str]) -> str:
    """The Modelfile's text. Temperature 0, as the answers were measured."""
    parts = [f"FROM ./{weights}", f"TEMPLATE {_quote(template.text)}"]
    parts += [f"SYSTEM {_quote(system)}"] if system else []
    parts += [f"PARAMETER stop {_quote_line(stop)}" for stop in dict.fromkeys([*stops, *template.stops])]
    return "\n".join([*parts, "PARAMETER temperature 0", ""])


def _quote(text: str) -> str:
    if '"""' in text:
        raise StageError('prompt.system_prompt: a Modelfile can\'t hold """; write it without')
    return f'"""{text}"""'


def _quote_line(text: str) -> str:
    return f'"{text}"'
