"""Drafts are what followed the text's last tokens before, and change nothing that a model writes."""

from hypothesis import given
from hypothesis import strategies as st

from netllama.scoring.prompt_lookup import SIZES, DraftedText, confirm_draft

TOKENS = st.lists(st.integers(0, 3), max_size=30)


def search_draft(ids: list[int], most: int) -> list[int]:
    """The same by reading the whole text again for each token: the latest earlier place of the longest run."""
    for size in SIZES:
        if len(ids) < size:
            continue
        for end in range(len(ids) - 1, size - 1, -1):
            if ids[end - size : end] == ids[-size:]:
                grown = list(ids)
                for place in range(end, end + most):
                    grown.append(grown[place])
                return grown[len(ids) :]
    return []


@given(first=TOKENS, second=TOKENS, most=st.integers(0, 9))
def test_a_draft_is_what_followed_the_last_tokens_at_their_latest_place(
    first: list[int], second: list[int], most: int
) -> None:
    text = DraftedText(first)
    text.extend(second)
    assert text.ids == first + second
    assert text.draft(most) == search_draft(first + second, most)


def test_drafts_in_words() -> None:
    assert DraftedText([7, 8, 9, 4, 5, 7, 8, 9]).draft(3) == [4, 5, 7]
    assert DraftedText([6, 8, 9, 1, 7, 8, 9, 2, 6, 8, 9]).draft(2) == [1, 7], "three tokens before two"
    assert DraftedText([1, 2, 1, 2]).draft(5) == [1, 2, 1, 2, 1], "a loop goes on"
    assert DraftedText([1, 2, 3, 4]).draft(3) == []
    assert DraftedText([5, 5]).draft(3) == []
    assert DraftedText([]).draft(3) == []


@given(ids=st.lists(st.integers(0, 2), min_size=1, max_size=12), draft=st.lists(st.integers(0, 2), max_size=6))
def test_whatever_is_drafted_the_text_is_that_of_one_token_at_a_time(ids: list[int], draft: list[int]) -> None:
    """A model whose next token hangs on all before it."""

    def choose(text: list[int]) -> int:
        return sum(place * token for place, token in enumerate(text, start=1)) % 3

    chosen = [choose(ids + draft[:number]) for number in range(len(draft) + 1)]
    written = confirm_draft(draft, chosen)
    expected = list(ids)
    for _ in written:
        expected.append(choose(expected))
    assert ids + written == expected
    assert written[:-1] == draft[: len(written) - 1]
    assert len(written) > len(draft) or written[-1] != draft[len(written) - 1]
