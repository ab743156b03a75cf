"""fp32 products of numbers that came from bf16: exact on every CPU, and the setting is put back."""

from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.cpu_layers.exact_products import multiply_in_bf16

pytestmark = pytest.mark.usefixtures("one_thread")


@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 200),
    size=st.sampled_from([1, 64, 576]),
    draw=st.integers(0, 1000),
    kinds=st.tuples(*[st.sampled_from([torch.bfloat16, torch.float32])] * 2),
)
@settings(max_examples=40)
def test_products_have_the_error_of_fp32(
    rows: int, columns: int, size: int, draw: int, kinds: tuple[torch.dtype, torch.dtype]
) -> None:
    """Rounded to bf16, results would be off by up to 0.4%; so would operands that did not come from bf16."""
    generator = torch.Generator().manual_seed(draw)
    x, weight = (
        torch.randn(number, size, generator=generator).to(kind)
        for number, kind in zip((rows, columns), kinds, strict=True)
    )
    with multiply_in_bf16(x, weight):
        found = torch.nn.functional.linear(x.float(), weight.float())
    exact = x.double() @ weight.double().t()
    magnitudes = x.double().abs() @ weight.double().abs().t()
    assert ((found - exact).abs() <= 1e-6 * magnitudes).all()


def test_the_setting_is_put_back_after_an_error() -> None:
    before, one = torch.backends.mkldnn.matmul.fp32_precision, torch.ones(1, dtype=torch.bfloat16)
    with suppress(KeyError), multiply_in_bf16(one, one):
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
        raise KeyError
    assert torch.backends.mkldnn.matmul.fp32_precision == before
    with multiply_in_bf16(one, one.float()):
        assert torch.backends.mkldnn.matmul.fp32_precision == before
