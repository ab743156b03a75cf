"""The tokenizer's own chat template: what it writes around messages, and with which variables it is asked to."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A fixed date: Llama 3 templates write "today" into the system prompt, and bytes must not change overnight.
DATE = "26 Jul 2024"
# Templates of models that may think (Qwen3, SmolLM3) know this variable. What is trained on has no thoughts.
NO_THINKING: dict[str, Any] = {"enable_thinking": False}
PROBE_ANSWER = "192.0.2.7"

Turn = tuple[str, str]
"""A request and its answer."""


class ChatTemplate:
    def __init__(self, tokenizer: "PreTrainedTokenizerBase", system_prompt: str) -> None:
        self._tokenizer = tokenizer
        self._system_prompt = system_prompt

    def write(self, request: str, context: str, answer: str | None, earlier: Sequence[Turn] = ()) -> str:
        """A conversation up to where the model answers, or with its `answer`; `context` is a task's input."""
        said = [*(text for turn in earlier for text in turn), f"{request}\n\n{context}" if context else request]
        messages = [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(said)]
        if self._system_prompt:
            messages.insert(0, {"role": "system", "content": self._system_prompt})
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
        return self._apply_template(messages, self.variables)

    def find_opening(self) -> str:
        """What it writes in front of an answer alone, such as an empty think block or a channel's name."""
        prompt, whole = self.write("probe", "", None), self.write("probe", "", PROBE_ANSWER)
        before, _, after = whole.removeprefix(prompt).partition(PROBE_ANSWER)
        return before if after and before.strip() and whole.startswith(prompt) else ""

    @cached_property
    def variables(self) -> dict[str, Any]:
        """What the chat template is given beside the messages: no thinking.

        A template that writes an empty block of thoughts into the prompt alone, and not in front of the answers that it
        is given, is not asked to.
        """
        asked = [{"role": "user", "content": "probe"}]
        answered = [*asked, {"role": "assistant", "content": PROBE_ANSWER}]
        for found in ({"date_string": DATE} | NO_THINKING, {"date_string": DATE}):
            prompt, whole = (self._apply_template(messages, found) for messages in (asked, answered))
            if whole.startswith(prompt):
                return found
        return {"date_string": DATE} | NO_THINKING

    def _apply_template(self, messages: list[dict[str, str]], variables: dict[str, Any]) -> str:
        from jinja2 import TemplateError

        is_asked = messages[-1]["role"] == "user"
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=is_asked, **variables
                )
            )
        except TemplateError as error:
            key = "system_prompt" if self._system_prompt else "template"
            raise StageError(f"prompt.{key}: the tokenizer's chat template refuses it ({error})") from None
