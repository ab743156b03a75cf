"""bench/statistics.py in small: do intervals hold the truth in 1,000 experiments, are tests of equal models quiet?"""

import numpy as np
import pytest

from bench.statistics import (
    COVERAGE,
    FALSE_POSITIVES,
    cover_by_bootstrap,
    cover_by_wilson,
    reject_by_flips,
    reject_by_mcnemar,
)
from bench.synthetic_scores import (
    AGREEMENT,
    LAYOUTS,
    draw_changes,
    draw_grades,
    draw_hits,
    draw_losses,
    draw_normals,
    draw_shifts,
)
from netllama.statistics.difference_tests import adjust_holm

EXPERIMENTS = 1_000
RESAMPLES = 2_000
LAID_OUT = [("alone", 48), ("pairs", 48), ("groups", 120)]
laid_out = pytest.mark.parametrize(("layout", "items"), LAID_OUT)


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20)


def test_the_synthetic_scores_have_the_mean_and_the_agreement_they_are_said_to_have(
    random: np.random.Generator,
) -> None:
    clusters = LAYOUTS["groups"](400)
    for scores in (
        draw_hits(clusters, 500, 0.1, random),
        draw_grades(clusters, 500, (1.0, 5.0), random),
        draw_changes(clusters, 500, 0.15, 0.05, random),
        draw_losses(clusters, 500, random),
    ):
        assert np.average(scores.values, weights=scores.weights) == pytest.approx(scores.truth, abs=0.01)
    normals = draw_normals(np.repeat(np.arange(100), 2), 500, random)
    assert np.corrcoef(normals[::2].ravel(), normals[1::2].ravel())[0, 1] == pytest.approx(AGREEMENT, abs=0.02)


@laid_out
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_interval_of_a_proportion_covers(
    layout: str, items: int, share: float, random: np.random.Generator
) -> None:
    covered = cover_by_wilson(draw_hits(LAYOUTS[layout](items), EXPERIMENTS, share, random))
    assert COVERAGE[0] <= covered <= COVERAGE[1]


@laid_out
def test_the_bootstraps_intervals_cover(layout: str, items: int, random: np.random.Generator) -> None:
    size = (LAYOUTS[layout](items), EXPERIMENTS)
    for scores in (
        draw_changes(*size, 0.1, 0.1, random),
        draw_changes(*size, 0.15, 0.05, random),
        draw_shifts(*size, 0.1, random),
        draw_losses(*size, random),
    ):
        assert COVERAGE[0] <= cover_by_bootstrap(scores, RESAMPLES) <= COVERAGE[1]


def test_an_interval_that_ignores_clusters_does_not_cover(random: np.random.Generator) -> None:
    """The simulation can fail: it sees what is lost when items of a cluster are taken as independent."""
    scores = draw_hits(LAYOUTS["groups"](120), EXPERIMENTS, 0.5, random)
    ignorant = type(scores)(scores.values, np.arange(120), scores.weights, scores.truth)
    assert cover_by_wilson(ignorant) < COVERAGE[0]
    assert cover_by_bootstrap(ignorant, RESAMPLES) < COVERAGE[0]


@laid_out
def test_equal_models_differ_in_at_most_one_test_of_eighteen(
    layout: str, items: int, random: np.random.Generator
) -> None:
    size = (LAYOUTS[layout](items), EXPERIMENTS)
    p_values = (
        reject_by_mcnemar(draw_changes(*size, 0.1, 0.1, random)),
        reject_by_flips(draw_shifts(*size, 0, random)),
    )
    for p in p_values:
        assert np.mean(p <= 0.05) <= FALSE_POSITIVES[1]
        assert np.mean(p <= 0.5) == pytest.approx(0.5, abs=0.08)


def test_one_of_four_suites_seems_to_change_in_at_most_one_report_of_eighteen(random: np.random.Generator) -> None:
    size = (LAYOUTS["pairs"](60), EXPERIMENTS)
    suites = [reject_by_mcnemar(draw_changes(*size, 0.1, 0.1, random)) for _ in range(2)]
    suites += [reject_by_flips(draw_shifts(*size, 0, random)) for _ in range(2)]
    loud = [min(adjust_holm(own)) <= 0.05 for own in np.array(suites).T.tolist()]
    assert 0.02 <= np.mean(loud) <= FALSE_POSITIVES[1]
