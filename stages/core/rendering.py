"""A record into the text that the model sees, and into token ids with the answer's start.

The one place that renders: tokenize, evaluate, ask and publish all go through it, so that training and
inference can't drift apart. Two templates: `chat`, the tokenizer's own chat template, and `alpaca`, the
format of Stanford Alpaca that the seed document trains with.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.errors import StageError
from stages.core.records import LETTERS, Question

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A fixed date: Llama 3 templates write "today" into the system prompt, and bytes must not change overnight.
_DATE = "26 Jul 2024"
_ALPACA_TASK = "Below is an instruction that describes a task"
_ALPACA_PAIRED = ", paired with an input that provides further context"
_ALPACA_REQUEST = ". Write a response that appropriately completes the request."


class RenderingError(ValueError):
    """The template and the tokenizer do not keep prompt and answer apart."""


@dataclass(frozen=True)
class Rendered:
    """Token ids [T] of prompt + answer + end-of-sequence; the answer begins at `answer_start`."""

    input_ids: list[int]
    answer_start: int


class Renderer:
    def __init__(self, tokenizer: "PreTrainedTokenizerBase", template: str, system_prompt: str) -> None:
        if template == "chat" and not tokenizer.chat_template:
            raise StageError("tokenize.template: this tokenizer has no chat template; use alpaca")
        if tokenizer.eos_token_id is None:
            raise StageError("models/tokenizer: no end-of-sequence token; an answer could never end")
        self.tokenizer = tokenizer
        self.template = template
        self.system_prompt = system_prompt
        if system_prompt.strip() not in self.prompt("probe"):
            raise StageError("tokenize.system_prompt: this chat template leaves it out; set it to ''")

    def prompt(self, request: str, context: str = "") -> str:
        """The text up to where the model answers, special tokens included; `context` is a task's input."""
        if self.template == "alpaca":
            bos = self.tokenizer.bos_token if self._adds_bos() else ""
            system = f"{self.system_prompt}\n\n" if self.system_prompt else ""
            return f"{bos}{system}{_alpaca(request, context)}"
        return self._chat(request, context, answer=None)

    def prompt_ids(self, request: str, context: str = "") -> list[int]:
        return self._ids(self.prompt(request, context))

    def render(self, request: str, answer: str, context: str = "") -> Rendered:
        """Prompt and answer together; the prompt's ids must be a prefix of the whole.

        A tokenizer that merges across the border would train on ids that inference never sees: an error.
        """
        eos = str(self.tokenizer.eos_token)
        prompt = self.prompt(request, context)
        if self.template == "alpaca":
            whole = prompt + answer.strip() + eos
        else:
            whole = self._chat(request, context, answer.strip())
            whole = whole[: whole.rindex(eos) + len(eos)] if eos in whole[len(prompt) :] else whole + eos
        prompt_ids, ids = self._ids(prompt), self._ids(whole)
        if ids[: len(prompt_ids)] != prompt_ids:
            raise RenderingError("the tokenizer merges the end of the prompt with the start of the answer")
        if ids[-1] != self.tokenizer.eos_token_id:
            raise RenderingError("the rendered answer does not end in the end-of-sequence token")
        return Rendered(ids, len(prompt_ids))

    def _ids(self, text: str) -> list[int]:
        # The text holds its special tokens already: adding them again would double the BOS.
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _chat(self, request: str, context: str, answer: str | None) -> str:
        from jinja2 import TemplateError

        messages = [{"role": "user", "content": f"{request}\n\n{context}" if context else request}]
        if self.system_prompt:
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=answer is None, date_string=_DATE
                )
            )
        except TemplateError as error:
            key = "system_prompt" if self.system_prompt else "template"
            raise StageError(f"tokenize.{key}: the tokenizer's chat template refuses it ({error})") from None

    def _adds_bos(self) -> bool:
        probe = self.tokenizer("a")["input_ids"]
        return bool(self.tokenizer.bos_token) and probe[0] == self.tokenizer.bos_token_id


def load_renderer(folder: str | Path, template: str, system_prompt: str) -> Renderer:
    if not Path(folder).is_dir():
        raise StageError(f"{folder}: no such folder; run `dvc repro fetch`")
    from transformers import AutoTokenizer

    return Renderer(AutoTokenizer.from_pretrained(folder, local_files_only=True), template, system_prompt)


def question_request(question: Question) -> str:
    """What the user says for a closed question: it is answered by one of the texts of `choices`."""
    if question.kind == "true_false":
        return f"True or false? {question.question}"
    return question.question


def choices(question: Question) -> tuple[list[str], int]:
    """The texts between which a closed question chooses, and the position of the right one."""
    if question.kind == "true_false":
        return ["True", "False"], ["true", "false"].index(question.answer)
    return question.options, LETTERS.index(question.answer)


def _alpaca(instruction: str, context: str) -> str:
    if not context:
        return f"{_ALPACA_TASK}{_ALPACA_REQUEST}\n\n### Instruction:\n{instruction}\n\n### Response:\n"
    return (
        f"{_ALPACA_TASK}{_ALPACA_PAIRED}{_ALPACA_REQUEST}\n\n"
        f"### Instruction:\n{instruction}\n\n### Input:\n{context}\n\n### Response:\n"
    )
