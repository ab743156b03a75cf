"""In which precision the base model computes: by the processor or the device alone, never by a measurement.

A processor that has instructions for bf16 is not always faster with them. Products of two 2048 x 2048 matrices on two
cores, GFLOP/s: AMD EPYC with AVX512-BF16 413 in bf16 and 150 in fp32; Intel Xeon with AVX512-BF16 149 and 267; Intel
Xeon with AMX 2,205 and 373. `python -m bench.hardware` measures both, and says where `auto` is not the faster one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from netllama.core.errors import StageError

if TYPE_CHECKING:
    import torch

Precision = Literal["bf16", "fp16", "fp32"]
CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Processor:
    """What decides which precision a CPU computes faster in."""

    vendor: str
    """As the processor names it (AuthenticAMD, GenuineIntel); empty: unknown."""
    has_avx512_bf16: bool
    has_amx_bf16: bool


def choose_for_cpu(processor: Processor) -> tuple[Precision, str]:
    """The faster precision of a CPU, and why."""
    if processor.has_amx_bf16:
        return "bf16", "this CPU has AMX"
    if not processor.has_avx512_bf16:
        return "fp32", "this CPU has neither AMX nor AVX512-BF16"
    if processor.vendor == "AuthenticAMD":
        return "bf16", "this CPU is AMD's with AVX512-BF16"
    return "fp32", "this CPU has AVX512-BF16 but not AMX, and is not AMD's: it is slower in bf16"


def parse_processor(cpu_info: str) -> Processor:
    """The first processor in the text of Linux's /proc/cpuinfo; it lists what the kernel lets a process use."""
    found = [line.partition(":") for line in cpu_info.split("\n\n")[0].splitlines()]
    fields = {name.strip(): value.strip() for name, _, value in found}
    flags = fields.get("flags", "").split()
    return Processor(fields.get("vendor_id", ""), "avx512_bf16" in flags, "amx_bf16" in flags)


def read_processor() -> Processor:
    """The processor of this machine; nothing is known of it where the system is not Linux."""
    return parse_processor(CPU_INFO.read_text(encoding="utf-8") if CPU_INFO.is_file() else "")


def choose(precision: str) -> tuple[Precision, str]:
    """What `loading.precision` comes to on this machine, and why; StageError where it can't be had."""
    import torch

    has_cuda = torch.cuda.is_available()
    if precision == "fp16" and not has_cuda:
        raise StageError("loading.precision: fp16 needs a CUDA device; use auto")
    named: dict[str, Precision] = {"bf16": "bf16", "fp16": "fp16", "fp32": "fp32"}
    if precision in named:
        return named[precision], "loading.precision says so"
    if not has_cuda:
        return choose_for_cpu(read_processor())
    # An emulated bf16 is slower than fp16: it does not count.
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16", "this CUDA device has it"
    return "fp16", "this CUDA device has no bf16"


def choose_precision(precision: str) -> "torch.dtype":
    """What `loading.precision` comes to on this machine."""
    import torch

    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[choose(precision)[0]]


def describe_precision(precision: str) -> str:
    """One line for the log of a stage."""
    chosen, reason = choose(precision)
    return f"precision: {chosen} ({reason})"
