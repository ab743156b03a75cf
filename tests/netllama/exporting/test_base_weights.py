"""The base one weight at a time: exactly what `load_base` holds in memory."""

from pathlib import Path

import pytest
import torch

from netllama.core.errors import StageError
from netllama.exporting.base_weights import TrainedForm, read_trained
from netllama.exporting.streamed_model import build_empty_model, load_config
from netllama.models.loading import load_base
from netllama.training.adapter import list_linear_layers
from tests.support.training_runs import loading_params, training_record


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
@pytest.mark.parametrize(("quantization", "double"), [("nf4", True), ("nf4", False), ("int8", False), ("none", False)])
def test_every_weight_is_that_of_the_loaded_base(
    tiny_model_folder: Path, precision: str, dtype: torch.dtype, quantization: str, double: bool
) -> None:
    loaded = load_base(tiny_model_folder, loading_params(precision, quantization, double, "cached")).state_dict()
    linear = {f"{name}.weight" for name in list_linear_layers(build_empty_model(load_config(tiny_model_folder)))}
    read = read_trained(tiny_model_folder, TrainedForm(dtype, quantization, double), linear)
    for name, weight in loaded.items():
        found = read(name)
        assert found.dtype == torch.float32
        assert torch.equal(found.cpu(), weight.float().cpu()), name


def test_a_record_that_does_not_say_what_the_base_was_is_refused(tmp_path: Path) -> None:
    for loading in ({}, {"precision": "bfloat16"}, {"precision": "nn", "quantization": "nf4"}):
        record = training_record().model_copy(update={"loading": loading})
        with pytest.raises(StageError, match=r"training\.json: loading does not say what the base was"):
            TrainedForm.of(record, tmp_path)
