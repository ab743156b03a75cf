"""What the tests of Self-Instruct share: params, seed tasks, and a teacher in memory that answers by a script."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from netllama.contamination.evaluation_questions import Evaluation
from netllama.core.files import dump_canonical_json
from netllama.core.params import Params, read_params
from netllama.core.records import SeedTask, load_seeds
from netllama.selfinstruct.checked_notes import CheckedNotes
from netllama.selfinstruct.rounds import Family, grow_families
from netllama.teacher.api_format import PATHS, build_body
from netllama.teacher.store import Request, Response, ResponseStore
from tests.support.clones import ROOT
from tests.support.openai_server import Answer, Asked, new_tasks, strict_answer

TEACHER = "http://127.0.0.1/v1"
FAMILIES = sorted(path.stem for path in (ROOT / "data" / "seeds").glob("*.jsonl"))
PRICED = {"usd_per_million_prompt_tokens": "0.15", "usd_per_million_completion_tokens": "0.60"}


GROWTH = ("generate", "teacher", "filters", "contamination")


def params(**changes: Any) -> Params:
    """params.yaml for a teacher that is not the embedded one; each of `changes` goes to the section with that key."""
    ours = read_params(ROOT / "params.yaml").model_dump()
    for key, value in ({"base_url": TEACHER, "model_name": "test", "max_requests": 32} | changes).items():
        (section,) = (name for name in GROWTH if key in ours[name])
        ours[section][key] = value
    return Params.model_validate(ours)


def load_family_seeds(family: str) -> list[SeedTask]:
    return load_seeds(ROOT / "data" / "seeds", family)


def seed(name: str, size: int = 1, category: str = "one", **fields: str) -> SeedTask:
    """A seed task of `size` estimated tokens and the instruction's own."""
    texts = {"instruction": name, "input": "", "output": "x" * 4 * size} | fields
    return SeedTask(id=name, category=category, reference="none", **texts)


def family(
    name: str = "bgp_knowledge",
    seeds: Sequence[SeedTask] | None = None,
    evaluation: Evaluation | None = None,
    notes: CheckedNotes | None = None,
    **changes: Any,
) -> Family:
    settings = params(**changes)
    evaluation = evaluation or Evaluation([], settings.contamination)
    growth = settings.generate, settings.teacher, settings.filters
    seeds = seeds or load_family_seeds(name)
    return Family(name, f"Write tasks about {name}.", seeds, evaluation, *growth, notes=notes or CheckedNotes())


def tasks_for(asked: Asked) -> Answer:
    """New tasks in the form that was asked for: a pure function of the prompt."""
    return Answer(strict_answer(asked) if "response_format" in asked.body else new_tasks(asked))


class Scripted:
    """A teacher in memory: what is stored, or the answer of `reply`; `asked` are the requests it was needed for."""

    def __init__(self, reply: Callable[[Asked], Answer] = tasks_for, store: ResponseStore | None = None) -> None:
        self.reply = reply
        self.store = store or ResponseStore(Path("no such file"))
        self.asked: list[Request] = []

    async def ask_all(self, requests: list[Request]) -> list[Response]:
        return [self.store.find(request) or self.answer(request) for request in requests]

    def answer(self, request: Request) -> Response:
        answer = self.reply(Asked(len(self.asked), PATHS[request.api], {}, build_body(request)))
        self.asked.append(request)
        response = Response(
            key=request.key,
            draw=request.draw,
            model=request.model,
            text=answer.refusal or answer.text,
            finish_reason="refusal" if answer.refusal else answer.finish_reason,
            max_tokens=request.max_tokens,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
        ).bound_usage(request)
        if self.store.live != Path("no such file"):
            self.store.add(response)
        return response


def grown(*families: Family, teacher: Any = None) -> Any:
    """The teacher, after the families have grown through it."""
    teacher = teacher or Scripted()
    asyncio.run(grow_families(families, teacher, lambda: None))
    return teacher


def join_texts(request: Request) -> str:
    """All that the teacher reads."""
    return request.prompt or "\n".join(message["content"] for message in request.messages or [])


def dump_rows(*families: Family) -> list[str]:
    """Kept, rejected and answers, as they are written."""
    return [
        dump_canonical_json(row.model_dump()) for one in families for row in (*one.kept, *one.responses, *one.rejected)
    ]
