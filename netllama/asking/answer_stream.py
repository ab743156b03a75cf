"""One answer of one model, token by token: greedily the ids of netllama/scoring/generation.py, or sampled.

Base and tuned model are one set of weights: for the base the adapter is switched off, or left out of the decoding, so
that two answers can grow in turn.
"""

import re
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError
from netllama.rendering.chat_template import Turn
from netllama.rendering.document_texts import phrase_with_documents
from netllama.rendering.renderer import Renderer
from netllama.scoring.first_bias import FirstBias
from netllama.scoring.generation import merge_prompts
from netllama.scoring.likelihood import can_share
from netllama.scoring.prompt_reading import PromptReader
from netllama.scoring.refusal_balance import RefusalBalance

if TYPE_CHECKING:
    import torch

    from netllama.cpu_layers.decoding import StepDecoder
    from netllama.models.loading import LanguageModel

_UNSETTLED = re.compile(r"[\s\ufffd]+\Z")
"""What the next tokens may change: white space that could be the answer's end, and U+FFFD, which stands for the first
bytes of a character."""


def require_text(question: str) -> None:
    """StageError for what a terminal of another encoding sent."""
    try:
        question.encode()
    except UnicodeEncodeError:
        raise StageError("the question is not UTF-8; check the terminal's encoding") from None


@dataclass(frozen=True)
class Speaker:
    """A model that answers."""

    name: str
    model: "LanguageModel"
    renderer: Renderer
    without_adapter: bool = False
    """The model is loaded with its adapter, and answers as its base."""
    decoder: "StepDecoder | None" = None
    """What evaluate decodes this speaker's answers with; None: the library's way."""
    refusals: RefusalBalance | None = None
    """How readily it refuses where documents are shown."""

    def switch_adapter(self) -> AbstractContextManager[Any]:
        """The time of a pass through the model for this speaker; afterwards the adapter is on again."""
        model: Any = self.model
        return model.disable_adapter() if self.without_adapter else nullcontext()

    def encode_question(self, question: str, earlier: Sequence[Turn] = (), documents: Sequence[str] = ()) -> list[int]:
        """The ids of the prompt; StageError where it leaves no room for an answer, or is no text."""
        require_text(question)
        try:
            ids = self.renderer.encode_prompt(phrase_with_documents(question, documents), earlier=earlier)
        except ValueError as error:
            raise StageError(f"the question can't be rendered: {error}") from None
        if len(ids) >= self.count_positions():
            remedy = "/reset forgets what was said" if earlier else "--k shows fewer" if documents else "shorten it"
            what = f"the question with {len(documents)} documents" if documents else "the question"
            raise StageError(
                f"{what} comes to {len(ids):,} tokens and {self.name} reads {self.count_positions():,}; {remedy}"
            )
        return ids

    def weigh_refusal(self, question: str, documents: Sequence[str]) -> FirstBias | None:
        """On the first token of the answer, where documents are shown."""
        return self.refusals.weigh(question, documents) if self.refusals and documents else None

    def count_positions(self) -> int:
        """Tokens that the model was made for, prompt and answer together."""
        config: Any = self.model.config
        return int(config.get_text_config(decoder=True).max_position_embeddings)


class AnswerStream:
    """An answer that grows by a token with each `step`, until `is_done`."""

    def __init__(
        self,
        speaker: Speaker,
        prompt: Sequence[int],
        max_new_tokens: int,
        temperature: float = 0.0,
        bias: FirstBias | None = None,
    ) -> None:
        """`temperature` 0: greedy. The answer ends where the model's positions do, at the latest."""
        self.speaker = speaker
        self.ids: list[int] = []
        self.seconds = 0.0
        """Spent in this answer's steps alone, the reading of the prompt included."""
        self._prompt = list(prompt)
        self._most = min(max_new_tokens, speaker.count_positions() - len(prompt))
        self._temperature = temperature
        self._bias = bias
        self._cache: Any = None

    @property
    def is_cut(self) -> bool:
        """Whether the limit ended the answer, not the model."""
        return len(self.ids) >= self._most and self._eos not in self.ids[-1:]

    @property
    def is_done(self) -> bool:
        return self.is_cut or self._eos in self.ids[-1:]

    @property
    def text(self) -> str:
        """The answer; while it grows, without what its next tokens may change."""
        text = self.speaker.renderer.decode_answer(self.ids)
        return text if self.is_done else _UNSETTLED.sub("", text)

    @property
    def _eos(self) -> int:
        return int(self.speaker.renderer.tokenizer.eos_token_id)

    def step(self) -> None:
        """One more token."""
        import torch

        started = time.perf_counter()
        with torch.inference_mode():
            decoder = self.speaker.decoder
            logits = self._decode(decoder) if decoder else self._decode_by_library()
            self.ids.append(self._choose(logits))
        self.seconds += time.perf_counter() - started

    def _decode(self, decoder: "StepDecoder") -> "torch.Tensor":
        """[V]: the logits of the next token, as netllama/scoring/greedy_decoding.py computes them."""
        if self._cache is None:
            self._cache = decoder.make_cache(1)
            with self.speaker.switch_adapter():
                [(_, layers)] = PromptReader(self.speaker.model, [self._prompt]).read([0])
            self._cache.append(layers, [len(self._prompt) - 1])
        logits = decoder.compute_logits([[(self.ids or self._prompt)[-1]]], self._cache)[:, 0]
        self._cache.advance([1])
        return logits

    def _decode_by_library(self) -> "torch.Tensor":
        """[V]: the same logits, as transformers' `generate` computes them."""
        import torch
        from transformers import DynamicCache

        model, prompt = self.speaker.model, self._prompt
        with self.speaker.switch_adapter():
            if self._cache is None:
                before = len(prompt) - 1 if can_share(model) else 0
                self._cache = merge_prompts(model, [prompt], before) if before else DynamicCache(config=model.config)
            new = (prompt + self.ids)[self._cache.get_seq_length() :]
            ids = torch.tensor([new], device=model.device)
            logits: torch.Tensor = model(input_ids=ids, past_key_values=self._cache, use_cache=True).logits[0, -1]
        return logits

    def _choose(self, logits: "torch.Tensor") -> int:
        import torch

        if self._bias and not self.ids:
            logits = logits.clone()
            logits[self._bias.token] += self._bias.value
        if not self._temperature:
            return int(logits.max(0).indices)
        return int(torch.multinomial((logits.float() / self._temperature).softmax(-1), 1))


def make_speakers(
    model: "LanguageModel", renderer: Renderer, has_adapter: bool, refusals: RefusalBalance | None = None
) -> list[Speaker]:
    """The base model; with an adapter in `model`, the tuned one behind it. Both decode from the same weights.

    `refusals`: of the tuned one.
    """
    import torch

    from netllama.cpu_layers.decoding import StepDecoder, can_decode

    with torch.inference_mode():
        decoder = StepDecoder(model) if can_share(model) and can_decode(model) else None
    if not has_adapter:
        return [Speaker("base model", model, renderer, decoder=decoder)]
    base = decoder.drop_lora() if decoder else None
    return [
        Speaker("base model", model, renderer, without_adapter=True, decoder=base),
        Speaker("tuned model", model, renderer, decoder=decoder, refusals=refusals),
    ]


def describe_answer(answer: AnswerStream) -> str:
    """`41 tokens, 17.3 a second`, and whether it was cut."""
    count = len(answer.ids)
    speed = f"{count} token{'s' * (count != 1)}, {count / max(answer.seconds, 1e-9):.1f} a second"
    return f"{speed}, cut at the limit" if answer.is_cut else speed
