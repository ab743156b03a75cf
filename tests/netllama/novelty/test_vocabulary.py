"""Words that can't match are blotted out, and no score changes."""

from hypothesis import given
from hypothesis import strategies as st

from netllama.contamination.normalisation import blot_numbers
from netllama.novelty import vocabulary
from netllama.novelty.rouge import compute_rouge_l

TEXTS = st.lists(
    st.lists(st.sampled_from(["bgp", "7", "é", "路由", "x1", "x2", "x3"]), max_size=9), min_size=2, max_size=5
)


@given(TEXTS)
def test_words_that_cannot_match_are_blotted_out_and_no_score_changes(listed: list[list[str]]) -> None:
    texts = [blot_numbers(" ".join(text)) for text in listed]
    pairs = vocabulary.collect_shared_tokens(texts)
    entries_known = vocabulary.collect_tokens(texts[:1])
    for place, text in enumerate(texts):
        for other in texts[:place]:
            assert compute_rouge_l(pairs.entry(other), pairs.query(text)) == compute_rouge_l(other, text)
        if place:
            assert compute_rouge_l(entries_known.entry(texts[0]), entries_known.query(text)) == compute_rouge_l(
                texts[0], text
            )


def test_words_of_one_text_alone_take_no_room() -> None:
    texts = [f"shared word{number} only{number}" for number in range(50)]
    pairs = vocabulary.collect_shared_tokens(texts)
    assert {pairs.entry(text) for text in texts} == {"shared 1 1"}
    assert {pairs.query(text) for text in texts} == {"shared 2 2"}
