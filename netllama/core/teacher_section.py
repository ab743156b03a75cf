"""The params section `teacher`: which server and model are asked, and what they can be asked for."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from netllama.core.param_types import NUMBER, freeze_list
from netllama.core.server_section import ServerParams


class TeacherParams(ServerParams):
    """The teacher: which server and model are asked, how, how fast, and for how much money."""

    section = "teacher"

    model_name: str = Field(min_length=1)
    """The server's name of the model."""
    temperature: Annotated[float, Field(ge=0, le=2), NUMBER] | None
    """Sampling temperature; empty: not sent. Reasoning models refuse it."""
    top_p: Annotated[float, Field(gt=0, le=1), NUMBER] | None
    """Nucleus sampling: the share of probability that is sampled from; empty: not sent."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2), NUMBER] | None
    """The API's parameter of this name; not sent where it is 0 or empty."""
    presence_penalty: Annotated[float, Field(ge=-2, le=2), NUMBER] | None
    """The API's parameter of this name; not sent where it is 0 or empty."""
    stop: Annotated[tuple[str, ...], Field(max_length=4), BeforeValidator(freeze_list)]
    """Texts that end an answer. Keep it empty: Alpaca's "20." cuts answers at an address or a number."""
    prompt_cache: bool
    """Put the seed tasks' instructions into the beginning that all prompts of a family share, and name it for the
    provider's prompt cache, which discounts it from 1,024 tokens on."""

    def _find_problems(self) -> list[str]:
        problems = super()._find_problems()
        if self.stop and not self.base_url:
            problems.append("the embedded teacher does not support stop")
        if self.api == "responses" and (self.stop or self.frequency_penalty or self.presence_penalty):
            problems.append("api responses has no stop, frequency_penalty or presence_penalty: leave them empty")
        if self.api == "completions" and (self.reasoning_effort or self.prompt_cache):
            problems.append("reasoning_effort and prompt_cache need api responses or chat")
        return problems
