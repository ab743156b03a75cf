"""Which precision `auto` comes to: by what the processor or the device is, and for no other reason."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netllama.core.errors import StageError
from netllama.models import precision
from netllama.models.precision import Processor, choose_for_cpu, choose_precision, describe_precision, parse_processor

AMD, INTEL = "AuthenticAMD", "GenuineIntel"
CPU_INFO = """processor\t: 0
vendor_id\t: {vendor}
model name\t: Some Processor: with a colon
flags\t\t: fpu vme avx512f {flags}
bogomips\t: 5200.00

processor\t: 1
vendor_id\t: Other
flags\t\t: fpu
"""


@pytest.mark.parametrize(
    ("vendor", "avx512_bf16", "amx_bf16", "expected"),
    [
        (AMD, True, False, "bf16"),  # 413 GFLOP/s in bf16, 150 in fp32
        (INTEL, True, False, "fp32"),  # 149 and 267
        (INTEL, True, True, "bf16"),  # 2,205 and 373
        (INTEL, False, False, "fp32"),
        (AMD, False, False, "fp32"),
        ("", True, False, "fp32"),
        ("", False, False, "fp32"),
    ],
)
def test_auto_on_a_cpu_is_the_precision_that_was_measured_to_be_the_faster_one(
    vendor: str, avx512_bf16: bool, amx_bf16: bool, expected: str
) -> None:
    chosen, reason = choose_for_cpu(Processor(vendor, avx512_bf16, amx_bf16))
    assert chosen == expected
    assert reason.startswith("this CPU ")


@given(st.text(), st.booleans(), st.booleans())
def test_the_same_processor_always_decides_the_same(vendor: str, avx512_bf16: bool, amx_bf16: bool) -> None:
    one, other = (choose_for_cpu(Processor(vendor, avx512_bf16, amx_bf16)) for _ in range(2))
    assert one == other
    assert one[0] == "fp32" or avx512_bf16 or amx_bf16, "no CPU computes in what it has no instructions for"


@pytest.mark.parametrize(
    ("vendor", "flags", "expected"),
    [
        (AMD, "avx512_bf16 clzero", Processor(AMD, True, False)),
        (INTEL, "avx512_bf16 amx_bf16 avx512_fp16 amx_tile amx_int8", Processor(INTEL, True, True)),
        (INTEL, "avx512_bf16_not amx_tile", Processor(INTEL, False, False)),
        ("HygonGenuine", "", Processor("HygonGenuine", False, False)),
    ],
)
def test_the_first_processor_of_linuxs_list_is_read(vendor: str, flags: str, expected: Processor) -> None:
    assert parse_processor(CPU_INFO.format(vendor=vendor, flags=flags)) == expected


@pytest.mark.parametrize("text", ["", "\n", "Features\t: fp asimd bf16\nCPU implementer\t: 0x41\n", "nothing"])
def test_of_a_list_in_another_form_nothing_is_known(text: str) -> None:
    assert parse_processor(text) == Processor("", False, False)
    assert choose_for_cpu(parse_processor(text))[0] == "fp32"


def use_cpu(patch: pytest.MonkeyPatch, processor: Processor) -> None:
    patch.setattr(torch.cuda, "is_available", lambda: False)
    patch.setattr(precision, "read_processor", lambda: processor)


def test_the_line_for_the_log_names_the_precision_and_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    use_cpu(monkeypatch, Processor(INTEL, True, True))
    assert describe_precision("auto") == "precision: bf16 (this CPU has AMX)"
    assert describe_precision("fp32") == "precision: fp32 (loading.precision says so)"


def test_fp16_without_cuda_is_refused_and_auto_is_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(StageError, match=r"^loading\.precision: fp16 needs a CUDA device; use auto$"):
        choose_precision("fp16")


@pytest.mark.parametrize(("has_bf16", "expected"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_cuda_is_fp16_on_a_device_older_than_bf16(
    monkeypatch: pytest.MonkeyPatch, has_bf16: bool, expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # An emulated bf16 is slower than fp16: it does not count.
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_bf16 or including_emulation
    )
    assert choose_precision("auto") == expected


@pytest.mark.parametrize("processor", [Processor(INTEL, False, False), Processor(AMD, True, False)])
def test_a_named_precision_is_taken_whatever_the_processor_prefers(
    monkeypatch: pytest.MonkeyPatch, processor: Processor
) -> None:
    use_cpu(monkeypatch, processor)
    assert choose_precision("bf16") == torch.bfloat16
    assert choose_precision("fp32") == torch.float32
