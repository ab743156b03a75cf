"""Dropout masks of a CPU: shares, independence, and what they depend on."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netllama.cpu_layers import dropout_pool
from netllama.cpu_layers.dropout_pool import DropoutPool

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = settings(max_examples=40)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.5, 0.9])
def test_a_mask_keeps_the_share_it_should(rate: float) -> None:
    torch.manual_seed(0)
    mask = DropoutPool(rate, torch.bfloat16).mask(torch.Size((1000, 1000)))
    assert mask.dtype == torch.bfloat16
    assert mask.shape == (1000, 1000)
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    kept = mask.double().mean().item()
    assert abs(kept - (1 - rate)) < 5 * (rate * (1 - rate) / 1e6) ** 0.5


@pytest.mark.parametrize(("rate", "dropped"), [(0.4, 0), (0.6, 1), (1.0, 1), (1.4, 1), (3.0, 3)])
def test_a_rate_is_met_to_the_next_65536th(rate: float, dropped: int) -> None:
    """In 2^23 entries a 65536th is 128, give or take 11."""
    torch.manual_seed(0)
    mask = DropoutPool(rate / 2**16, torch.float32).mask(torch.Size((2**23,)))
    found = int((mask == 0).sum())
    assert abs(found - 128 * dropped) <= 5 * (128 * dropped) ** 0.5


def test_the_entries_of_a_mask_are_independent() -> None:
    """All patterns of 8 neighbours, which two of the 64-bit numbers make up, are as frequent as they should be."""
    torch.manual_seed(0)
    for rate in (0.5, 0.2):
        mask = DropoutPool(rate, torch.float32).mask(torch.Size((250_000, 8)))
        patterns = (mask.long() << torch.arange(8)).sum(1)
        found = torch.bincount(patterns, minlength=256).double()
        ones = torch.tensor([bin(pattern).count("1") for pattern in range(256)])
        expected = len(mask) * (1 - rate) ** ones.double() * rate ** (8 - ones).double()
        chance = expected >= 5
        square = ((found - expected) ** 2 / expected)[chance].sum().item()
        freedom = int(chance.sum()) - 1
        assert abs(square - freedom) < 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8, 64, 1000, 312 * 4, 624 * 4])
def test_entries_some_places_apart_do_not_go_together(lag: int) -> None:
    """624 and 312 are periods in the generator's own state."""
    torch.manual_seed(1)
    mask = DropoutPool(0.5, torch.float32).mask(torch.Size((2**20,))) - 0.5
    correlation = 4 * (mask[lag:] * mask[:-lag]).mean().item()
    assert abs(correlation) < 5 / 2**10


def test_masks_follow_from_torchs_seed_and_change_with_each_refresh() -> None:
    shape = torch.Size((40, 50))
    pool = DropoutPool(0.5, torch.float32)

    def masks(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        pool.refresh()
        return [pool.mask(shape), pool.mask(shape)]

    first, again, other = masks(7), masks(7), masks(8)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(*first)
    assert not torch.equal(first[0], other[0])
    state = torch.get_rng_state()
    before = pool.mask(shape)
    pool.refresh()
    torch.set_rng_state(state)
    assert not torch.equal(pool.mask(shape), before)


@QUICK
@given(size=st.integers(1, 500), larger=st.integers(1, 500), seed=st.integers(0, 99))
def test_a_mask_depends_on_no_mask_before_it(size: int, larger: int, seed: int) -> None:
    """Not on their sizes either: of masks larger than the pool, as here, the pool is made to hold them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dropout_pool, "POOL", 64)
        torch.manual_seed(seed)
        pool = DropoutPool(0.5, torch.float32)
        state = torch.get_rng_state()
        first = pool.mask(torch.Size((size,)))
        assert len(first) == size
        assert len(pool.mask(torch.Size((larger,)))) == larger
        torch.set_rng_state(state)
        assert torch.equal(pool.mask(torch.Size((size,))), first)


@QUICK
@given(st.integers(1, 3000), st.integers(1, 500))
def test_bits_drawn_a_part_at_a_time_begin_with_the_same_ones(size: int, part: int) -> None:
    """As a GPU's are, whose numbers depend on how many are drawn at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dropout_pool, "POOL", 64)
        patch.setitem(dropout_pool.DRAWN_AT_A_TIME, "cpu", part)
        torch.manual_seed(1)
        pool = DropoutPool(0.5, torch.float32)
        assert torch.equal(pool._draw(size), pool._draw(size + 977)[:size])
        assert len(pool._draw(size)) == size


def test_a_gpus_masks_begin_where_it_reads_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dropout_pool.ALIGNED, "cpu", 8)
    pool = DropoutPool(0.5, torch.float32)
    assert {pool.mask(torch.Size((5,))).storage_offset() % 8 for _ in range(20)} == {0}
