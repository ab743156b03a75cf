"""A record into the text that the model sees, and into token ids with the answer's start.

The one place that renders: tokenize, baseline, evaluate and ask go through it, so that training and inference can't
drift apart. Two templates: `chat`, the tokenizer's own chat template, and `alpaca`, the format of Stanford Alpaca that
the seed document trains with. What a user wrote never becomes a special token (netllama/rendering/special_tokens.py);
`Renderer.fingerprint` tells whether two renderers give the same ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from netllama.core.errors import StageError
from netllama.core.files import hash_json
from netllama.core.sections import PromptParams
from netllama.core.tokenizer_files import load_tokenizer
from netllama.rendering.alpaca_template import write_alpaca
from netllama.rendering.chat_template import NO_THINKING, PROBE_ANSWER, ChatTemplate, Turn
from netllama.rendering.special_tokens import SpecialTokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# What a fingerprint is made of, in its order; `ids` differs alone where only the library that encodes does.
_PARTS = ("prompt.template", "prompt.system_prompt", "special tokens", "vocabulary", "ids")
_PROBE = "Which AS announced 192.0.2.0/24 at 07:15?\n\n```python\n    x = ['é', \"中👩\"]\n```\tDone."


class RenderingError(ValueError):
    """The template and the tokenizer do not keep prompt and answer of a record apart."""

    def __init__(self, reason: str, row: int = 0) -> None:
        super().__init__(reason)
        self.row = row
        """Which of the records that were rendered together."""


@dataclass(frozen=True)
class Rendered:
    """Token ids [T] of prompt + answer + end-of-sequence; the answer begins at `answer_start`."""

    input_ids: list[int]
    answer_start: int


@dataclass(frozen=True)
class _Border:
    """How every prompt ends: its last special token, as text and as id, and the text and ids below it."""

    special: str
    id: int
    text: str
    ids: list[int]


class Renderer:
    def __init__(self, tokenizer: "PreTrainedTokenizerBase", template: str, system_prompt: str) -> None:
        if template == "chat" and not tokenizer.chat_template:
            raise StageError("prompt.template: this tokenizer has no chat template; use alpaca")
        if tokenizer.eos_token_id is None:
            raise StageError("models/tokenizer: no end-of-sequence token; an answer could never end")
        if getattr(tokenizer, "backend_tokenizer", None) is None:
            raise StageError("models/tokenizer: not a tokenizer of the tokenizers library (tokenizer.json)")
        self.tokenizer = tokenizer
        self.template = template
        self.system_prompt = system_prompt
        self.special_tokens = SpecialTokens(tokenizer.backend_tokenizer)
        self.chat = ChatTemplate(tokenizer, system_prompt)
        if special := self.special_tokens.find(system_prompt):
            raise StageError(f"prompt.system_prompt: {special} is a special token; write the text without it")
        if system_prompt.strip() not in self.render_prompt("probe"):
            raise StageError("prompt.system_prompt: this chat template leaves it out; set it to ''")
        self._bos = self._expected_bos()
        self._border = self._common_border()

    def render_prompt(self, request: str, context: str = "") -> str:
        """The text up to where the model answers, special tokens included; `context` is a task's input."""
        return self.special_tokens.reveal(self._render_prompt(request, context))

    def encode_prompt(self, request: str, context: str = "", earlier: Sequence[Turn] = ()) -> list[int]:
        """The ids of `render_prompt`; in a conversation after its `earlier` turns, each rendered as in training."""
        return self.special_tokens.encode(self._render_prompt(request, context, earlier))

    def render(self, request: str, answer: str, context: str = "") -> Rendered:
        """Prompt and answer together; the prompt's ids must be a prefix of the whole.

        A tokenizer that merges across the border would train on ids that inference never sees: an error.
        """
        return self.render_all([(request, answer, context)])[0]

    def render_all(self, records: Sequence[tuple[str, str, str]]) -> list[Rendered]:
        """(request, answer, context) each as `render` does it; the error of the first bad one has its `row`."""
        texts = [self._texts(row, *record) for row, record in enumerate(records)]
        encoded = self.special_tokens.encode_all([whole for _, whole in texts])
        rendered = []
        for row, ((prompt, whole), ids) in enumerate(zip(texts, encoded, strict=True)):
            start = self._answer_start(prompt, whole, ids)
            if start is None:
                raise RenderingError("the tokenizer merges the end of the prompt with the start of the answer", row)
            if ids[-1] != self.tokenizer.eos_token_id:
                raise RenderingError("the rendered answer does not end in the end-of-sequence token", row)
            if ids.index(ids[-1], start) != len(ids) - 1:
                raise RenderingError("the end-of-sequence token stands within the rendered answer, too", row)
            if ids.count(self.tokenizer.bos_token_id) != self._bos:
                raise RenderingError(f"not {self._bos} beginning-of-sequence tokens, as in other rows", row)
            rendered.append(Rendered(ids, start))
        return rendered

    def decode_answer(self, ids: list[int]) -> str:
        """The text of an answer's ids, up to the end-of-sequence token where they have one; without special tokens."""
        eos = self.tokenizer.eos_token_id
        answer = ids[: ids.index(eos)] if eos in ids else ids
        return str(self.tokenizer.decode(answer, skip_special_tokens=True, clean_up_tokenization_spaces=False)).strip()

    @cached_property
    def fingerprint(self) -> str:
        """Equal for renderers that give the same ids: 16 hex digits of a SHA-256 for each of `_PARTS`, joined by -."""
        source = (
            self.tokenizer.chat_template
            if self.template == "chat"
            else [write_alpaca("{}", ""), write_alpaca("{}", "{}")]
        )
        names = ("bos_token", "eos_token", "unk_token", "pad_token")
        special = {name: str(getattr(self.tokenizer, name)) for name in names} | self.special_tokens.ids_of
        rows = [self.encode_prompt(_PROBE), self.encode_prompt(_PROBE, _PROBE), self.special_tokens.encode(_PROBE)]
        parts = ([self.template, source], self.system_prompt, special, self.tokenizer.get_vocab(), rows)
        return "-".join(hash_json(part)[:16] for part in parts)

    def _render_prompt(self, request: str, context: str, earlier: Sequence[Turn] = ()) -> str:
        """The prompt with the user's special tokens hidden."""
        hide = self.special_tokens.hide
        request, context = hide(request), hide(context)
        hidden = [(hide(asked), hide(answer.strip())) for asked, answer in earlier]
        if self.template == "alpaca":
            bos, eos = self.tokenizer.bos_token if self._adds_bos else "", self.tokenizer.eos_token
            system = f"{self.system_prompt}\n\n" if self.system_prompt else ""
            before = "".join(f"{system}{write_alpaca(asked, '')}{answer}{eos}" for asked, answer in hidden)
            return f"{bos}{before}{system}{write_alpaca(request, context)}"
        return self.chat.write(request, context, answer=None, earlier=hidden) + self.opening

    def _texts(self, row: int, request: str, answer: str, context: str) -> tuple[str, str]:
        """Prompt, and prompt + answer + end-of-sequence; what a template writes below that is never generated."""
        try:
            prompt, answer = self._render_prompt(request, context), self.special_tokens.hide(answer.strip())
        except ValueError as error:
            raise RenderingError(str(error), row) from None
        eos = str(self.tokenizer.eos_token)
        if self.template == "alpaca":
            return prompt, prompt + answer + eos
        hide = self.special_tokens.hide
        whole = self.chat.write(hide(request), hide(context), answer)
        if not whole.startswith(prompt):
            raise RenderingError("the chat template writes the prompt in another way where an answer follows", row)
        if not whole[len(prompt) :].lstrip().startswith(answer):
            raise RenderingError("the chat template does not write the answer as it is", row)
        end = whole.find(eos, len(prompt))
        return prompt, whole[: end + len(eos)] if end >= 0 else whole + eos

    def _answer_start(self, prompt: str, whole: str, ids: list[int]) -> int | None:
        """How many of the whole's ids are the prompt's; None: the prompt's are not a prefix of them.

        A special token is a border to every tokenizer: the ids in front of it do not depend on the text below it.
        Where the prompt ends in one and a constant text ("assistant"), comparing the ids of that text is enough, and
        the prompt is not encoded a second time: 40% of the time of a row.
        """
        border = self._border
        if border is None or not prompt.endswith(border.special + border.text):
            prompt_ids = self.special_tokens.encode(prompt)
            return len(prompt_ids) if ids[: len(prompt_ids)] == prompt_ids else None
        place = -1
        for _ in range(prompt.count(border.special)):
            place = ids.index(border.id, place + 1)
        start = place + 1 + len(border.ids)
        return start if ids[place + 1 : start] == border.ids else None

    def _common_border(self) -> _Border | None:
        prompts = [self._render_prompt("probe", ""), self._render_prompt("Another", "one")]
        found = [max(self.special_tokens.ids_of, key=text.rfind, default="") for text in prompts]
        special = found[0]
        if found[1] != special or special not in prompts[0] or not self.special_tokens.isolates(special):
            return None
        below = [text.rpartition(special)[2] for text in prompts]
        if below[0] != below[1]:
            return None
        ids, id = self.special_tokens.encode(prompts[0]), self.special_tokens.ids_of[special]
        return _Border(special, id, below[0], ids[len(ids) - ids[::-1].index(id) :])

    def _expected_bos(self) -> int:
        """How often each row holds the BOS: once where it is one; ChatML opens every turn with the same token."""
        bos, prompt = self.tokenizer.bos_token_id, self.encode_prompt("probe")
        try:
            ids = self.special_tokens.encode(self._texts(0, "probe", "answer", "")[1])
        except RenderingError as error:
            raise StageError(f"prompt.template: {error}; use alpaca") from None
        if bos is None:
            return 0
        if prompt[:2] == [bos, bos] or (self._adds_bos and ids.count(bos) > 1):
            raise StageError(f"prompt.template: the chat template writes {self.tokenizer.bos_token} twice")
        if self._adds_bos and prompt[0] != bos:
            raise StageError(
                f"prompt.template: the tokenizer begins a text with {self.tokenizer.bos_token} and its chat template "
                "does not; use alpaca, or a tokenizer whose template begins with bos_token"
            )
        return ids.count(bos)

    @property
    def is_plain_chat(self) -> bool:
        """Whether the chat template writes these prompts for everybody, given the system text and the date."""
        may_think = any(variable in str(self.tokenizer.chat_template) for variable in NO_THINKING)
        return self.template == "chat" and not (self.opening or may_think)

    @cached_property
    def opening(self) -> str:
        """What the chat template writes in front of an answer alone, as a part of the prompt.

        The model is neither trained on it nor has to generate it. Blanks at its end are left to the answer where the
        tokenizer joins them with its first word.
        """
        opening = self.chat.find_opening() if self.template == "chat" else ""
        if not opening:
            return ""
        prompt, whole = self.chat.write("probe", "", None), self.chat.write("probe", "", PROBE_ANSWER)
        ids = self.special_tokens.encode(prompt + opening)
        return opening if self.special_tokens.encode(whole)[: len(ids)] == ids else opening.rstrip()

    @cached_property
    def _adds_bos(self) -> bool:
        probe = self.tokenizer("a")["input_ids"]
        return bool(self.tokenizer.bos_token) and probe[0] == self.tokenizer.bos_token_id


def require_same_template(recorded: str, renderer: Renderer, where: str) -> None:
    """StageError where the ids in `where`, whose fingerprint is `recorded`, are not those that `renderer` gives."""
    if recorded == renderer.fingerprint:
        return
    if not recorded:
        raise StageError(f"{where}: does not record which template rendered it; run `dvc repro tokenize`")
    old, new = recorded.split("-"), renderer.fingerprint.split("-")
    differ = [name for name, a, b in zip(_PARTS, old, new, strict=False) if a != b] or ["format of the fingerprint"]
    raise StageError(
        f"{where}: made with another {' and '.join(differ[:-1] if len(differ) > 1 else differ)} than params.yaml and "
        "models/tokenizer have now; run `dvc repro`, or take back the change"
    )


def load_renderer(folder: str | Path, prompt: PromptParams) -> Renderer:
    if not Path(folder).is_dir():
        raise StageError(f"{folder}: no such folder; run `dvc repro fetch`")
    return Renderer(load_tokenizer(folder), prompt.template, prompt.system_prompt)
