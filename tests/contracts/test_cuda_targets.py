"""What `python -m bench.train_cuda --check` takes for a met target."""

import pytest

from bench.train_cuda import Measured, summarize

TRL = {"trl": Measured(1000, 30.0, 2.0), "trl best": Measured(2000, 40.0, 2.0)}


@pytest.mark.parametrize(
    ("ours", "met"),
    [
        (Measured(2600, 40.0, 2.0), True),
        (Measured(2600, 200.0, 2.0), False),
        (Measured(2600, 40.1, 2.0), False),
        (Measured(2500, 20.0, 2.0), False),
        (Measured(2600, 20.0, 2.06), False),
    ],
    ids=["met", "five times the memory", "a little more memory", "slow", "a higher loss"],
)
def test_a_target_is_met_by_speed_memory_and_loss_together(ours: Measured, met: bool) -> None:
    assert summarize("13B", "bf16", TRL | {"ours": ours}) is met


def test_nothing_is_met_where_a_side_is_missing() -> None:
    assert not summarize("13B", "bf16", TRL)
    assert not summarize("13B", "bf16", {"ours": Measured(9000, 1.0, 1.0), "trl best": TRL["trl best"]})
