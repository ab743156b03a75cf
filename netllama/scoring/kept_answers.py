"""Answers that a model has written, kept below the scratch folder: an interrupted evaluation goes on, and whoever
changes how answers are scored waits for no model.

An answer is found again by all that it depends on: the weights (base and adapter), how they are loaded, the code that
decodes, the libraries, the device and its threads, the tokens of the prompts, how many rows go together (which decides
the order of sums), and how long an answer may be. Nothing is found by a name.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from netllama.core.errors import StageError
from netllama.core.files import hash_file, hash_json, read_json, write_json
from netllama.core.sections import LoadingParams
from netllama.scoring.generation import generate_answers
from netllama.scoring.greedy_decoding import order_prompts
from netllama.scoring.token_draws import Steering

if TYPE_CHECKING:
    from netllama.models.loading import LanguageModel

BATCHES = 4
"""Batches of rows that are kept at once: what an interruption costs at most."""
DAYS_KEPT = 30
"""How long answers are kept after their last use."""
LIBRARIES = ("bitsandbytes", "numpy", "peft", "tokenizers", "torch", "transformers")
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
ROOT = Path(__file__).parent.parent
CODE = (
    "core/length_batches.py",
    "cpu_layers",
    "models",
    *(
        f"scoring/{name}.py"
        for name in (
            "first_bias",
            "generation",
            "graph_decoding",
            "greedy_decoding",
            "likelihood",
            "memory_batches",
            "prompt_lookup",
            "prompt_reading",
            "shared_prefixes",
            "token_draws",
        )
    ),
)
"""What decides which tokens a model writes."""


class LimitedPrompt(NamedTuple):
    """What a model is asked."""

    ids: list[int]
    limit: int
    """Tokens of its answer, at most."""
    steering: Steering | None = None
    """None: greedy."""


@dataclass(frozen=True)
class KeptAnswers:
    """The answers of one model, in files of `folder`; None: nothing is kept."""

    folder: Path | None
    model: str
    """What `identify_model` says of it."""

    def write(
        self, model: "LanguageModel", prompts: Sequence[LimitedPrompt], eos: int, batch_size: int
    ) -> list[list[int]]:
        """What `generate_answers` returns to each prompt: read where it is known, else generated and kept."""
        answers: list[list[int]] = [[] for _ in prompts]
        order = order_prompts([prompt.ids for prompt in prompts], [prompt.limit for prompt in prompts])
        for start in range(0, len(order), BATCHES * batch_size):
            chunk = order[start : start + BATCHES * batch_size]
            own = [prompts[position].ids for position in chunk]
            limits = [prompts[position].limit for position in chunk]
            steerings = [prompts[position].steering for position in chunk]
            named = [each and [type(each).__name__, *each] for each in steerings]
            asked = [self.model, own, eos, batch_size, limits, named]
            path = self.folder / f"{hash_json(asked)[:32]}.json" if self.folder else None
            found = _read_answers(path, len(own)) if path else None
            if found is None:
                found = generate_answers(model, own, eos, batch_size, limits, steerings)
                if path:
                    write_json(path, {"answers": found, "sha256": hash_json(found)})
            for position, ids in zip(chunk, found, strict=True):
                answers[position] = ids
        return answers

    def remove_old(self) -> None:
        """Delete what nobody has used for `DAYS_KEPT` days."""
        for path in self.folder.glob("*.json") if self.folder else ():
            if path.stat().st_mtime < time.time() - DAYS_KEPT * 86400:
                path.unlink(missing_ok=True)


NOTHING_KEPT = KeptAnswers(None, "")


def identify_model(files: Sequence[Path], loading: LoadingParams) -> str:
    """A hash of what decides the answers of a model but for its prompts. `files`: models/base.json, the adapter's."""
    from importlib.metadata import version

    import torch

    code = [path for entry in CODE for path in sorted((ROOT / entry).rglob("*.py")) or [ROOT / entry]]
    return hash_json(
        [
            [hash_file(path) for path in files],
            loading.model_dump(),
            {path.relative_to(ROOT).as_posix(): hash_file(path) for path in code},
            {name: version(name) for name in LIBRARIES},
            torch.cuda.get_device_name() if torch.cuda.is_available() else torch.backends.cpu.get_cpu_capability(),
            torch.get_num_threads(),
        ]
    )


def _read_answers(path: Path, number: int) -> list[list[int]] | None:
    """What a file holds; None where there is none, or where it is damaged: then it is written again."""
    if not path.is_file():
        return None
    try:
        kept = read_json(path)
    except StageError:
        return None
    match kept:
        case {"answers": list(answers), "sha256": str(digest)} if hash_json(answers) == digest:
            os.utime(path)
            return answers if len(answers) == number else None
    return None
