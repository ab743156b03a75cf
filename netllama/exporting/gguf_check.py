"""A written GGUF file, read back by transformers: the ids of the same tokenizer, the logits of the same model.

Two things transformers does not read from the file: the scaling of rotary embeddings (Llama 3.1), and how a text is cut
into words but for Llama 3. They are taken from the merged folder, and llama.cpp alone can tell whether the file's own
are right (tests/netllama/exporting/test_llama_cpp.py).
"""

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError
from netllama.core.tokenized_rows import TokenizedRow
from netllama.exporting.base_weights import choose_device, read_published
from netllama.exporting.gguf_file import GgufType
from netllama.exporting.probe_check import ProbeComparison, compare_on_probes
from netllama.exporting.streamed_model import StreamedModel
from netllama.models.bundled import quiet

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PretrainedConfig

HARD_TEXTS = (
    "AS65001 announces 192.0.2.0/24, 2001:db8::/32 at 07:15; MED 4294967295",
    "  two  spaces,   three \t tab\n\n  and\r\nlines  ",
    "def f(x):\n    return x['as_path'].split()  # it's, WE'LL, don't",
    "naïve Straße 東京 🛰️👩‍💻 ½ ² Ⅳ ٣ \u00a0non-breaking",
    "a  7 b   12345678 c1d2",
)
"""Texts on which ways to cut a text differ: digits, spaces, contractions, characters beyond ASCII."""
_SAME = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "max_position_embeddings", "vocab_size", "tie_word_embeddings",
)  # fmt: skip


def require_same_ids(folder: Path, file: Path, probes: Sequence[TokenizedRow]) -> None:
    """StageError where the tokenizer of `file` gives other ids than that of `folder`, for the probes or hard texts."""
    from transformers import AutoTokenizer

    own: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    with quiet("transformers"):
        read: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    backends = [own.backend_tokenizer, _cut_alike(read.backend_tokenizer, own.backend_tokenizer)]
    for text in [*HARD_TEXTS, *(own.decode(row.input_ids) for row in probes)]:
        expected, found = (each.encode(text, add_special_tokens=False).ids for each in backends)
        if expected != found:
            place = next((at for at, pair in enumerate(zip(expected, found, strict=False)) if len({*pair}) > 1), 0)
            raise StageError(
                f"{file.name}: its tokenizer reads {own.decode(expected[max(0, place - 3) : place + 3])!r} as other "
                "tokens than tokenizer.json does; not written"
            )
    if own.eos_token_id != read.eos_token_id or own.chat_template != read.chat_template:
        raise StageError(f"{file.name}: its end-of-sequence token or chat template is not the tokenizer's; not written")


def _cut_alike(read: "Tokenizer", own: "Tokenizer") -> "Tokenizer":
    """`read` with the way to cut a text into words that `own` has.

    transformers does not take that from the file but for Llama 3; the vocabulary, merges and special tokens are.
    """
    from tokenizers import Tokenizer

    parts, wanted = (json.loads(each.to_str()) for each in (read, own))
    for key in ("normalizer", "pre_tokenizer"):
        parts[key] = wanted[key]
    parts["model"]["ignore_merges"] = wanted["model"].get("ignore_merges", False)
    cut: Tokenizer = Tokenizer.from_str(json.dumps(parts))
    return cut


def compare_file(
    folder: Path, file: Path, config: "PretrainedConfig", type: GgufType, probes: Sequence[TokenizedRow]
) -> ProbeComparison:
    """The model of `file` against that of `folder`, both in fp32; takes the whole file's weights into memory."""
    import torch
    from transformers import AutoModelForCausalLM

    # These types hold what is stored; of a quantized weight only fp32 holds every product of number and scale.
    dtype = {"bf16": torch.bfloat16, "f16": torch.float16}.get(type, torch.float32)
    with quiet("transformers"):
        loaded: Any = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=dtype)
    differing = [key for key in _SAME if getattr(loaded.config, key) != getattr(config, key)]
    differing += [
        key for key in ("rms_norm_eps",) if abs(getattr(loaded.config, key) / getattr(config, key) - 1) > 1e-6
    ]
    if loaded.config.rope_parameters["rope_theta"] != config.rope_parameters["rope_theta"]:
        differing.append("rope_theta")
    if differing:
        raise StageError(f"{file.name}: reads back with another {', '.join(differing)}; not written")
    weights, device = dict(loaded.state_dict()), choose_device()
    del loaded
    with contextlib.suppress(KeyError):
        weights.setdefault("lm_head.weight", weights["model.embed_tokens.weight"])
    other = StreamedModel(config, lambda name: weights[name].to(device).float())
    reference = StreamedModel(config, read_published(folder))
    return compare_on_probes(reference.compute_logits, other.compute_logits, probes)
