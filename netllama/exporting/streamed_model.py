"""A causal language model of which one decoder layer at a time has its weights in memory.

Two models are compared by it where neither fits: the layers of a 13B model are 1.3 GB each in fp32. All rows go through
a layer before the next one is read.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netllama.core.errors import StageError
from netllama.exporting.adapter_update import AdapterUpdate
from netllama.exporting.base_weights import ReadWeight, choose_device
from netllama.models.output_head import has_plain_head

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel


def build_empty_model(config: "PretrainedConfig") -> "PreTrainedModel":
    """The model of this configuration in fp32 whose parameters have shapes but no values, in eval mode."""
    import torch
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    with init_empty_weights(include_buffers=False):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.eval()
    return model


def load_config(folder: Path) -> "PretrainedConfig":
    """config.json of a model folder, without what says how its weights were quantized."""
    from transformers import AutoConfig

    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise StageError(f"{folder}: not a model folder ({str(error).splitlines()[0]})") from None
    return config


def list_stored_weights(model: "PreTrainedModel") -> dict[str, "torch.Size"]:
    """Shapes of the weights that a folder of this model stores: a head tied to the embeddings is not among them."""
    tied = find_tied_weights(model)
    return {name: weight.shape for name, weight in model.named_parameters() if name not in tied}


def find_tied_weights(model: "PreTrainedModel") -> dict[str, str]:
    """The head's weight, and that of the embeddings it is tied to; empty where it has its own."""
    if not model.config.tie_word_embeddings:
        return {}
    names = {id(module): name for name, module in model.named_modules()}
    head, embeddings = (names[id(find())] for find in (model.get_output_embeddings, model.get_input_embeddings))
    return {f"{head}.weight": f"{embeddings}.weight"}


class StreamedModel:
    """The model of `config` with the weights that `read` gives, and on top of them, in PEFT's layers, an adapter."""

    def __init__(self, config: "PretrainedConfig", read: ReadWeight, adapter: AdapterUpdate | None = None) -> None:
        self._model: Any = build_empty_model(config)
        if not has_plain_head(self._model.requires_grad_(False)):
            raise StageError(
                f"config.json: {config.model_type} does more to its logits than a matrix product; not known"
            )
        head = self._model.get_output_embeddings()
        self._tied = find_tied_weights(self._model)
        self._read_base = read
        self._adapter = adapter
        self._device = choose_device()
        if adapter is not None:
            from peft import LoraConfig, inject_adapter_in_model

            lora = LoraConfig.from_pretrained(str(adapter.folder))
            lora.inference_mode = True
            inject_adapter_in_model(lora, self._model, low_cpu_mem_usage=True)
            self._model.eval()
        for module in self._model.modules():
            for name, buffer in module.named_buffers(recurse=False):
                module.register_buffer(name, buffer.to(self._device), persistent=False)
        self._head = next(name for name, module in self._model.named_modules() if module is head)
        self._hook_units()

    def compute_logits(self, rows: Sequence[Sequence[int]]) -> "Iterator[torch.Tensor]":
        """Logits [T, V] of each row of T token ids, in fp32.

        All rows go through the layers together, and one after the other through the head: 128,000 tokens of vocabulary
        are 0.5 GB a row of 1,024.
        """
        import torch

        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows], device=self._device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=self._device)
        with torch.inference_mode():
            states = self._model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        head = self._model.get_output_embeddings()
        self._load(head, self._head)
        for place, row in enumerate(rows):
            with torch.inference_mode():  # never over a yield: it would hold for the caller, too
                logits = head(states[place, : len(row)])
            yield logits
        _drop(head)

    def _hook_units(self) -> None:
        """Let each decoder layer, and each other module with weights, have them only while it computes."""
        import torch

        layers = {
            name: module for name, module in self._model.named_modules() if isinstance(module, torch.nn.ModuleList)
        }
        units = {f"{name}.{index}": layer for name, each in layers.items() for index, layer in enumerate(each)}
        for name, module in self._model.named_modules():
            within = any(name == unit or name.startswith(f"{unit}.") for unit in units)
            if not within and name != self._head and any(True for _ in module.parameters(recurse=False)):
                units[name] = module
        for name, unit in units.items():
            unit.register_forward_pre_hook(lambda module, _, name=name: self._load(module, name))
            unit.register_forward_hook(lambda module, *_: _drop(module))

    def _load(self, unit: "torch.nn.Module", unit_name: str) -> None:
        import torch

        for path, module in unit.named_modules(prefix=unit_name):
            for name in list(module._parameters):
                if module._parameters[name] is not None:
                    weight = self._read(f"{path}.{name}").to(self._device)
                    module._parameters[name] = torch.nn.Parameter(weight, requires_grad=False)

    def _read(self, name: str) -> "torch.Tensor":
        if ".lora_" in name and self._adapter is not None:
            plain = name.replace(".default", "")
            return self._adapter.read(plain.removesuffix(".weight") if "magnitude" in plain else plain)
        name = name.replace(".base_layer.", ".")
        return self._read_base(self._tied.get(name, name))


def _drop(unit: "torch.nn.Module") -> None:
    import torch

    for module in unit.modules():
        for name, weight in module._parameters.items():
            if weight is not None:
                module._parameters[name] = torch.nn.Parameter(weight.to("meta"), requires_grad=False)
