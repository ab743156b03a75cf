"""Where llama.cpp is installed (pip install llama-cpp-python: ten minutes of compiling), it reads the files itself."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from netllama.exporting.gguf_check import HARD_TEXTS
from netllama.exporting.gguf_file import write_gguf
from netllama.exporting.gguf_vocabulary import read_vocabulary
from netllama.exporting.streamed_model import load_config
from tests.support.tokenizers_of_kinds import make_byte_level, make_sentencepiece

llama_cpp = pytest.importorskip("llama_cpp", reason="llama.cpp is not installed (pip install llama-cpp-python)")
pytestmark = pytest.mark.usefixtures("one_thread")
KINDS = {
    "gpt-2": lambda: make_byte_level("gpt-2"),
    "smollm": lambda: make_byte_level("smollm"),
    "llama-bpe": lambda: make_byte_level("llama-bpe", adds_bos=True),
    "llama, normalizer": lambda: make_sentencepiece(True),
    "llama, Metaspace": lambda: make_sentencepiece(False),
}
SCALED = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0} | {
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
ROPES: dict[str, dict[str, Any]] = {
    "default": {"rope_type": "default", "rope_theta": 10000.0},
    "linear": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0},
    "llama3": SCALED,
}


def write_tiny(folder: Path, rope: dict[str, Any], tokenizer: Any) -> tuple[Path, Any]:
    """A Llama with grouped queries and sharp attention, as a folder and as a GGUF file; its file and itself in fp32."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=608, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, rope_parameters=rope, initializer_range=0.3,
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    tokenizer.chat_template = "{{ messages[0].content }}"
    file = folder / "model.gguf"
    list(write_gguf(folder, file, load_config(folder), tokenizer, read_vocabulary(tokenizer, 608), "bf16", "tiny"))
    return file, model.float().eval()


@pytest.mark.parametrize("kind", KINDS)
def test_its_tokenizer_gives_the_same_ids(kind: str, tmp_path: Path) -> None:
    tokenizer = KINDS[kind]()
    file, _ = write_tiny(tmp_path / "model", ROPES["default"], tokenizer)
    read = llama_cpp.Llama(str(file), vocab_only=True, verbose=False)
    # As a server renders: the beginning-of-sequence token is in the text where the tokenizer adds it.
    start = str(tokenizer.bos_token) if read_vocabulary(tokenizer, 608).add_bos else ""
    for text in (*HARD_TEXTS, "<tool>words<|user|> words", " leading", "trailing  \n"):
        found = read.tokenize((start + text).encode(), add_bos=False, special=True)
        assert found == tokenizer.backend_tokenizer.encode(start + text, add_special_tokens=False).ids, text


@pytest.mark.parametrize("rope", ROPES)
def test_it_computes_the_logits_of_the_same_rotary_embeddings(rope: str, tmp_path: Path) -> None:
    file, _ = write_tiny(tmp_path / rope, ROPES[rope], make_byte_level("gpt-2"))
    ids = torch.randint(2, 400, (1, 200), generator=torch.Generator().manual_seed(1))
    read = llama_cpp.Llama(str(file), n_ctx=256, logits_all=True, verbose=False, n_threads=1)
    read.eval(ids[0].tolist())
    found = torch.tensor(np.array(read.scores[:200]))
    distances = {}
    for name, parameters in ROPES.items():
        _, model = write_tiny(tmp_path / f"as {name}", parameters, make_byte_level("gpt-2"))
        with torch.inference_mode():
            distances[name] = float((model(input_ids=ids).logits[0] - found).abs().mean())
    # llama.cpp multiplies in bf16 and keeps keys and values in f16: near, and far from any other model.
    assert distances[rope] < 0.05 * found.std()
    assert all(distance > 5 * distances[rope] for name, distance in distances.items() if name != rope), distances
