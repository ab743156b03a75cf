"""Rows into batches and tensors: every row once, padding on the right, no label where there is no loss."""

from netllama.core.length_batches import IGNORED, batch_by_length, collate_rows


def test_batches_hold_every_position_once_longest_first() -> None:
    lengths = [3, 9, 9, 1, 5]
    assert list(batch_by_length(lengths, 2)) == [[1, 2], [4, 0], [3]]
    assert list(batch_by_length([], 2)) == []


def test_padding_is_masked_by_position_and_the_end_of_sequence_token_has_a_label() -> None:
    """0 fills the padding, and is a token like any other inside a row: here the end-of-sequence token."""
    input_ids, labels = collate_rows([([5, 6, 0, 8, 0], 2), ([9, 4, 0], 1)])
    assert input_ids.tolist() == [[5, 6, 0, 8, 0], [9, 4, 0, 0, 0]]
    assert labels.tolist() == [[IGNORED, IGNORED, 0, 8, 0], [IGNORED, 4, 0, IGNORED, IGNORED]]


def test_a_row_that_starts_at_its_first_token_has_a_label_everywhere() -> None:
    assert collate_rows([([5, 6, 7], 0)])[1].tolist() == [[5, 6, 7]]


def test_a_batch_without_rows_has_one_row_of_two_positions_without_a_label() -> None:
    input_ids, labels = collate_rows([])
    assert input_ids.shape == labels.shape == (1, 2)
    assert (labels == IGNORED).all()
