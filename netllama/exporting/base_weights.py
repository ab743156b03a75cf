"""The base model's weights one tensor at a time: as the adapter was trained on them, or as they were published.

A QLoRA adapter has learned to correct the quantized weights (arXiv 2305.14314): added to the published ones it gives
another model. So a linear layer is quantized here as `load_base` quantizes it, and dequantized again, in the precision
of the training. Nothing else is quantized, as there.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from netllama.core.errors import StageError
from netllama.models.published_weights import PublishedWeights
from netllama.models.training_record import FILE, TrainingRecord

if TYPE_CHECKING:
    import torch

# As netllama/models/loading.py does: on some CPUs bitsandbytes misses, at import, a kernel that nothing here calls.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

ReadWeight = Callable[[str], "torch.Tensor"]
"""The weight of that name in fp32, on the device that computes."""


@dataclass(frozen=True)
class TrainedForm:
    """What the base's weights were when the adapter was trained."""

    dtype: "torch.dtype"
    quantization: str
    """nf4, int8 or none."""
    double_quantization: bool

    @classmethod
    def of(cls, record: TrainingRecord, where: Path) -> "TrainedForm":
        """As the record beside the adapter in the folder `where` says; StageError where it does not."""
        import torch

        loading = record.loading
        dtype = getattr(torch, str(loading.get("precision")), None)
        quantization = loading.get("quantization")
        if not isinstance(dtype, torch.dtype) or quantization not in ("nf4", "int8", "none"):
            raise StageError(f"{where / FILE}: loading does not say what the base was; run `dvc repro train`")
        return cls(dtype, str(quantization), bool(loading.get("double_quantization")))


def choose_device() -> "torch.device":
    """Where exports compute: the first CUDA device, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def read_published(folder: Path) -> ReadWeight:
    """The weights of a model folder as they are in its files."""
    published, device = PublishedWeights(folder), choose_device()
    return lambda name: published[name].to(device).float()


def read_trained(folder: Path, form: TrainedForm, linear: Collection[str]) -> ReadWeight:
    """The weights that training saw; `linear` are the names of those that quantization takes."""
    published, device = PublishedWeights(folder), choose_device()

    def read(name: str) -> "torch.Tensor":
        weight = published[name].to(device, form.dtype)
        return (_requantize(weight, form) if name in linear else weight).float()

    return read


def _requantize(weight: "torch.Tensor", form: TrainedForm) -> "torch.Tensor":
    """Quantized and dequantized, as bitsandbytes' layers do it when a model is loaded."""
    import torch
    from bitsandbytes import functional

    if form.quantization == "nf4":
        packed, state = functional.quantize_4bit(
            weight.contiguous(), quant_type="nf4", compress_statistics=form.double_quantization
        )
        unpacked: torch.Tensor = functional.dequantize_4bit(packed, state)
        return unpacked
    if form.quantization == "int8":
        numbers, scales, _ = functional.int8_vectorwise_quant(weight.to(torch.float16))
        dequantized: torch.Tensor = functional.int8_vectorwise_dequant(numbers, scales)
        return dequantized.to(form.dtype)
    return weight
