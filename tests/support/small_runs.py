"""The whole DAG at small numbers, in a clone: a tiny model, a teacher on a loopback port, a few questions."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.clones import Clone, make_clone
from tests.support.openai_server import Answer, OpenAIServer, new_tasks


def invent_key(place: str) -> str:
    """A key to plant at `place`. It is computed: one that stood here would be found wherever this file is."""
    return f"sk-{hashlib.sha256(place.encode()).hexdigest()}"


PLANTED = {name: invent_key(name) for name in ("OPENAI_API_KEY", "HF_TOKEN")}
"""Keys that the small run has: the first lies in .env and is sent to the teacher, the second in the environment."""
SMALL: dict[str, Any] = {
    "families": ["bgp_knowledge", "packet_analysis"],
    "generate.num_instructions_to_generate": 2,
    "generate.max_requests": 2,
    "generate.requests_per_round": 2,
    "generate.max_exemplar_tokens": 200,
    "teacher.max_tokens": 96,
    "teacher.max_concurrency": 2,
    "generate.seed": 7,  # not the recorded one: every answer is asked live
    "retrieve.corpus": ["bgp"],
    "retrieve.train_networks": 1,
    "retrieve.train_tasks": 4,
    "retrieve.val_networks": 1,
    "retrieve.test_networks": 1,
    "tokenize.max_length": 320,
    "lora.r": 4,
    "train.max_steps": 3,
    "train.learning_rate": 0.01,
    "train.per_device_train_batch_size": 2,
    "train.eval_steps": 2,
    "train.logging_steps": 1,
    "evaluate.max_new_tokens": 8,
    "evaluate.num_generated": 2,
    "evaluate.num_programs": 0,
    "evaluate.num_reports": 4,  # each is asked in five ways
    "evaluate.num_val_reports": 4,
    "evaluate.num_with_documents": 4,
    "evaluate.max_code_tokens": 16,
    "evaluate.code_samples": 2,
}
REQUESTS = 4
"""What such a run asks its teacher: families times generate.max_requests."""
ALL = {"fetch", "generate", "split", "retrieve", "tokenize", "baseline", "train", "evaluate", "judge", "report"}


def make_small_clone(folder: Path, *programs: Path, **changes: Any) -> Clone:
    """A clone with small numbers and `changes`, committed; nothing has run in it."""
    clone = Clone(make_clone(folder), *programs)
    clone.edit(**SMALL | changes)
    for path in (clone.folder / "data" / "questions").iterdir():
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        path.write_text("".join(lines[::40]), encoding="utf-8")
    clone.commit("small numbers")
    return clone


def run_small(clone: Clone) -> Clone:
    """`dvc repro` from nothing, committed."""
    assert clone.ran(clone.run("dvc", "repro")) == ALL
    clone.commit("small run")
    return clone


def with_tiny_model(model: Path, teacher: OpenAIServer) -> Mapping[str, Any]:
    """Changes for a tiny model in a folder and a teacher on loopback."""
    return {
        "model.id": str(model),
        "teacher.base_url": teacher.url,
        "tokenize.max_length": 1024,  # the tiny model's tokens are a few characters each
    }


def run_tiny(folder: Path, model: Path, *programs: Path) -> Clone:
    """A small run with a tiny model. Its teacher was asked with the planted key, and is gone."""
    with OpenAIServer(lambda asked: Answer(new_tasks(asked))) as teacher:
        clone = make_small_clone(folder, *programs, **with_tiny_model(model, teacher))
        plant_keys(clone)
        run_small(clone)
        assert len(teacher.requests) == REQUESTS
        assert {asked.headers["authorization"] for asked in teacher.requests} == {f"Bearer {PLANTED['OPENAI_API_KEY']}"}
    return clone


def plant_keys(clone: Clone) -> None:
    (clone.folder / ".env").write_text(f"OPENAI_API_KEY={PLANTED['OPENAI_API_KEY']}\n", encoding="utf-8")
    clone.environment["HF_TOKEN"] = PLANTED["HF_TOKEN"]


def assert_the_teacher_was_asked(clone: Clone) -> None:
    families = clone.details("metrics/generate.json")["family"]
    assert [family["answers"] for family in families.values()] == [{"asked": 2, "replayed": 0}] * 2
    stored = clone.folder / ".scratch" / "responses" / "responses.jsonl"
    assert len(stored.read_text().splitlines()) == REQUESTS
