"""A model whose weights come layer by layer computes what the whole one computes, and never holds more than a layer."""

from pathlib import Path
from typing import Any

import pytest
import torch

from netllama.exporting.base_weights import read_published
from netllama.exporting.streamed_model import (
    StreamedModel,
    build_empty_model,
    find_tied_weights,
    list_stored_weights,
    load_config,
)

pytestmark = pytest.mark.usefixtures("one_thread")
ROWS = [[5, 6, 7, 8, 9], [10, 11], [300, 20, 40, 7, 8, 9, 1, 2]]


def load_whole(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def make_tied(folder: Path, source: Path) -> Path:
    """The tiny model with its head tied to the embeddings, and an attention bias that the tiny one does not have."""
    from transformers import LlamaForCausalLM

    config = load_config(source)
    config.tie_word_embeddings, config.attention_bias = True, True
    torch.manual_seed(4)
    LlamaForCausalLM(config).save_pretrained(folder)  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize("tied", [False, True])
def test_its_logits_are_those_of_the_whole_model(tiny_model_folder: Path, tmp_path: Path, tied: bool) -> None:
    folder = make_tied(tmp_path / "tied", tiny_model_folder) if tied else tiny_model_folder
    config, whole = load_config(folder), load_whole(folder)
    found = list(StreamedModel(config, read_published(folder)).compute_logits(ROWS))
    assert len(found) == len(ROWS)
    with torch.inference_mode():
        for row, logits in zip(ROWS, found, strict=True):
            torch.testing.assert_close(logits.cpu(), whole(torch.tensor([row])).logits[0], rtol=1e-5, atol=1e-5)


def test_no_more_than_one_layer_is_in_memory(tiny_model_folder: Path) -> None:
    model = StreamedModel(load_config(tiny_model_folder), read_published(tiny_model_folder))
    inner: Any = model._model
    seen: list[set[str]] = []

    def note(module: Any, inputs: Any) -> None:
        loaded = [name for name, weight in inner.named_parameters() if not weight.is_meta]
        seen.append({".".join(name.split(".")[:3]) for name in loaded})

    # Runs behind the hook that loads: what is there while this module computes.
    for module in (inner.model.embed_tokens, *inner.model.layers, inner.model.norm, inner.lm_head):
        module.register_forward_pre_hook(note)
    list(model.compute_logits(ROWS))
    assert [len(names) for names in seen] == [1] * (4 + len(ROWS))
    assert {"model.layers.0", "model.layers.1", "lm_head.weight"} <= set.union(*seen)
    assert all(weight.is_meta for weight in inner.parameters())
    assert not torch.is_inference_mode_enabled()


def test_a_tied_head_is_not_stored(tiny_model_folder: Path, tmp_path: Path) -> None:
    tied = build_empty_model(load_config(make_tied(tmp_path / "tied", tiny_model_folder)))
    assert find_tied_weights(tied) == {"lm_head.weight": "model.embed_tokens.weight"}
    assert "lm_head.weight" not in list_stored_weights(tied)
    assert "lm_head.weight" in list_stored_weights(build_empty_model(load_config(tiny_model_folder)))
