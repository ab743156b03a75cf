"""What is nearest in train: MinHash against the index."""

from pathlib import Path

import pytest

from bench.synthetic_pool import make_pool
from netllama.contamination.common_text import CommonText
from netllama.contamination.leakage_report import list_row_subjects, measure_leakage
from netllama.contamination.train_texts import IndexedTrain, PairedTrain, Subject, TextHit, TrainTexts, find_same_texts
from netllama.core.sections import ContaminationParams
from netllama.novelty import near_pairs
from netllama.novelty.rouge import TOLERANCE
from tests.support.given_away import make_row


def find_all(texts: TrainTexts, subjects: list[Subject], floor: float) -> dict[str, TextHit | None]:
    return {subject.id: texts.find_nearest(subject, floor) for subject in subjects}


def test_minhash_finds_the_nearest_rows_that_the_index_finds(tmp_path: Path) -> None:
    rows = list(make_pool(900, seed=4, planted=0.5))
    held, train = rows[::3], [row for number, row in enumerate(rows) if number % 3]
    train += [row.model_copy(update={"id": f"twin-{row.id}"}) for row in (*train[:50], *held[:5])]
    common = CommonText(rows, 13)

    subjects = list_row_subjects(held, common)
    indexed = find_all(
        IndexedTrain("rows", train, lambda row: [common.state_own(row)], subjects), subjects, 0.7 - TOLERANCE
    )
    paired = PairedTrain(train, common.list_own(train), subjects, 0.7, tmp_path)
    assert find_all(paired, subjects, 0.7 - TOLERANCE) == indexed
    near = [hit for hit in indexed.values() if hit]
    assert len(near) > 50
    assert sum(hit.score == 1.0 for hit in near) >= 5
    # Below the threshold it comes upon some.
    assert sum(map(bool, find_all(paired, subjects, 0.5).values())) > len(near)


def test_a_text_of_both_sides_is_found_once_whatever_its_spaces() -> None:
    train = [make_row("What is a  MED?", "", "Done.", "t-1"), make_row("What is a MED?", "", "Done.", "t-2")]
    subjects = [Subject("a", ["What is a MED?  Done."], []), Subject("b", ["What is a med?  Done."], [])]
    found = find_same_texts(subjects, train, lambda row: [f"{row.instruction} {row.output}"])
    assert found == {"a": TextHit(1.0, train[0])}


def test_the_report_of_a_large_pool_is_that_of_a_small_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = list(make_pool(600, seed=6, planted=0.5))
    sides = {"train": rows[150:], "val": rows[:50], "test": rows[50:150]}
    common, limits = CommonText(rows, 13), ContaminationParams(similarity_threshold=0.7, ngram=13)
    small = measure_leakage(sides, [], common, 0.7, limits, tmp_path)
    monkeypatch.setattr(near_pairs, "EXACT_ROWS", 599)
    assert measure_leakage(sides, [], common, 0.7, limits, tmp_path) == small
    assert small[0]["test"].near > 5
