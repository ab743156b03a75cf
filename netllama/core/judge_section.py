"""The params section `judge`: which model, if any, gives its opinion on the answers to open questions."""

from netllama.core.server_section import ServerParams


class JudgeParams(ServerParams):
    """A language model that compares the answers of base and tuned model to open questions; off as it is. Its sampling
    temperature is 0. It is asked as the teacher is, and decides nothing by itself."""

    section = "judge"

    model_name: str
    """The server's name of the model; empty: no judge, and nothing is asked."""

    @property
    def is_on(self) -> bool:
        return bool(self.model_name)

    def _find_problems(self) -> list[str]:
        if not self.is_on:
            return []
        problems = super()._find_problems()
        if self.api == "completions" and self.reasoning_effort:
            problems.append("reasoning_effort needs api responses or chat")
        return problems
