"""The novelty index and the similar pairs against loops over rouge-score."""

import random
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from netllama.core.records import load_seeds
from netllama.novelty import novelty_index, rouge
from netllama.novelty.novelty_index import NoveltyIndex, find_similar_pairs
from netllama.novelty.rouge import split_rouge_tokens
from tests.support.clones import ROOT

SCORER = RougeScorer(["rougeL"], use_stemmer=False)
QUICK = settings(max_examples=60)

# Few words make long common subsequences, repeated tokens and ties; many make almost none.
few_words = st.lists(st.sampled_from(["as", "path", "bgp", "rib", "64500"]), max_size=14).map(" ".join)
many_words = st.lists(st.text("abz019", min_size=1, max_size=3), max_size=14).map(" ".join)
natural = st.sampled_from([seed.instruction for seed in load_seeds(ROOT / "data" / "seeds", "bgp_knowledge")])
any_text = st.text(max_size=40)
texts = st.one_of(few_words, few_words, many_words, natural, any_text)
floors = st.sampled_from([0.0, 0.1, 0.25, 0.5, 2 / 3, 0.7, 0.75, 0.8, 0.9, 1.0])


@cache
def reference(first: str, second: str) -> float:
    return float(SCORER.score(first, second)["rougeL"].fmeasure)


def nearest_by_loop(text: str, pool: list[str], floor: float = 0.0) -> tuple[str | None, float]:
    scores = [reference(other, text) for other in pool]
    best = max(scores, default=0.0)
    return (f"t{scores.index(best)}", best) if best > 0 and best >= floor else (None, 0.0)


def make_index(pool: list[str]) -> NoveltyIndex:
    index = NoveltyIndex()
    for number, text in enumerate(pool):
        index.add(f"t{number}", text)
    return index


def exact(first: str, second: str) -> Fraction:
    """ROUGE-L F1 with no rounding: the textbook recurrence of the longest common subsequence."""
    a, b = split_rouge_tokens(first), split_rouge_tokens(second)

    @cache
    def lcs(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return 0
        if a[i - 1] == b[j - 1]:
            return lcs(i - 1, j - 1) + 1
        return max(lcs(i - 1, j), lcs(i, j - 1))

    return Fraction(2 * lcs(len(a), len(b)), len(a) + len(b)) if a and b else Fraction(0)


def synthetic(number: int, seed: int = 0, most: int = 24) -> list[str]:
    """Texts of 3 to `most` words whose frequencies fall with their rank; one in five is an edited copy."""
    draw = random.Random(seed)
    pool: list[list[str]] = []
    for _ in range(number):
        if pool and draw.random() < 0.2:
            text = [word if draw.random() < 0.8 else f"w{draw.randrange(400)}" for word in draw.choice(pool)]
        else:
            text = [f"w{int(400 * draw.random() ** 4)}" for _ in range(draw.randint(3, most))]
        pool.append(text)
    return [" ".join(text) for text in pool]


@pytest.fixture(params=["as tuned", "every look and column small"])
def tuning(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of texts never fills a first look or a column: the second setting takes those paths too."""
    if request.param != "as tuned":
        monkeypatch.setattr(novelty_index, "FIRST_LOOK", 1)
        monkeypatch.setattr(novelty_index, "LOOK_GROWTH", 2)
        monkeypatch.setattr(novelty_index, "DENSE_ROWS", 1)


# --- nearest


@QUICK
@given(texts, st.lists(texts, max_size=12), floors)
@example("a b c d e f g", ["a b c d e f g h i j k l m"], 0.7)  # 7 of 7 and 13: rouge-score says 0.7000000000000001
@example("a a a a", ["a", "a a", "a a a", "b a a a a"], 0.0)
@example("", ["", "a"], 0.0)
def test_nearest_is_that_of_a_loop_over_rouge_score_to_the_last_bit(text: str, pool: list[str], floor: float) -> None:
    index = make_index(pool)
    assert index.find_nearest(text) == nearest_by_loop(text, pool)
    assert index.find_nearest(text, floor) == nearest_by_loop(text, pool, floor)


@pytest.mark.usefixtures("tuning")
def test_texts_are_found_among_hundreds_as_by_a_loop() -> None:
    pool, queries = synthetic(400), synthetic(40, seed=1)
    index = make_index(pool)
    for query in [*queries, *pool[::40]]:
        for floor in (0.0, 0.4, 0.7):
            assert index.find_nearest(query, floor) == nearest_by_loop(query, pool, floor)


@pytest.mark.usefixtures("tuning")
@pytest.mark.parametrize("threshold", [0.5, 2 / 3, 0.7, 0.8])
def test_the_filter_keeps_what_a_loop_over_rouge_score_keeps(threshold: float) -> None:
    """nearest and add in turns, as in Self-Instruct; short texts, so that thresholds are often hit exactly."""
    index, kept, hits = NoveltyIndex(), list[str](), 0
    for number, text in enumerate(synthetic(250, seed=2, most=12)):
        scores = [reference(other, text) for other in kept]
        _, score = index.find_nearest(text)
        assert score == max(scores, default=0.0)
        hits += abs(score - threshold) < 1e-9
        if score <= threshold:
            index.add(str(number), text)
            kept.append(text)
    assert hits
    assert 50 < len(kept) < 250


def test_of_equal_texts_the_earliest_is_the_nearest() -> None:
    index = NoveltyIndex()
    for name in ("other", "first", "second"):
        index.add(name, "unrelated words" if name == "other" else "what is a route leak")
    assert index.find_nearest("What is a route leak?") == ("first", 1.0)
    assert index.find_nearest("what is a leak") == ("first", pytest.approx(8 / 9))


def test_of_hundreds_of_equals_the_earliest_is_the_nearest() -> None:
    pool = ["route leak", *["what is a route leak"] * 300]
    assert make_index(pool).find_nearest("what is a route leak") == ("t1", 1.0)
    assert make_index(pool).find_nearest("is a leak") == ("t1", reference(pool[1], "is a leak"))


def test_an_empty_index_and_a_text_with_no_token_have_no_nearest() -> None:
    index = NoveltyIndex()
    assert index.find_nearest("what is a route leak") == (None, 0.0)
    assert index.find_matches("what is a route leak", 0.5) == []
    index.add("empty", "???")
    assert index.find_nearest("what is a route leak") == (None, 0.0)
    index.add("one", "what is a route leak")
    assert index.find_nearest("!!!") == (None, 0.0)
    assert index.find_matches("!!!", 0.5) == []


def test_texts_of_more_than_255_tokens_in_common_are_counted_in_full() -> None:
    words = [f"w{number}" for number in range(70_000)]
    index = NoveltyIndex()
    for name, length in (("some", 255), ("more", 300), ("most", 65_600)):
        index.add(name, " ".join(words[:length]))
    assert index.find_nearest(" ".join(words[:257])) == (
        "some",
        reference(" ".join(words[:255]), " ".join(words[:257])),
    )
    assert index.find_nearest(" ".join(words[:301]))[0] == "more"
    assert index.find_nearest(" ".join(words))[0] == "most"


def test_a_token_repeated_thousands_of_times_is_counted_as_often() -> None:
    index = NoveltyIndex()
    index.add("many", "ff " * 3000)
    index.add("few", "ff " * 40 + "end")
    assert index.find_nearest("ff " * 2999)[0] == "many"
    assert index.find_nearest("ff " * 41) == ("few", 40 / 41)
    assert make_index(["ff " * 16]).find_nearest("ff " * 16) == ("t0", 1.0)  # 16 times 16 would be 0 in a byte


def test_more_distinct_tokens_than_there_are_characters_below_the_surrogates_stay_distinct() -> None:
    """Tokens are mapped to characters; 0xD800 to 0xDFFF are none."""
    index = NoveltyIndex()
    for start in range(0, 60_000, 100):
        index.add(str(start), " ".join(f"w{number}" for number in range(start, start + 100)))
    for start in (0, 55_200, 55_300, 57_300, 59_900):
        assert index.find_nearest(" ".join(f"w{number}" for number in range(start, start + 100))) == (str(start), 1.0)
    assert index.find_nearest(" ".join(f"w{number}" for number in range(50, 150))) == ("0", 0.5)


# --- matches and pairs


@QUICK
@given(texts, st.lists(texts, max_size=12), floors)
def test_matches_are_those_of_a_loop_over_rouge_score(text: str, pool: list[str], floor: float) -> None:
    scores = [reference(other, text) for other in pool]
    expected = [(place, score) for place, score in enumerate(scores) if score > 0 and score >= floor]
    assert make_index(pool).find_matches(text, floor) == expected


@pytest.mark.usefixtures("tuning")
def test_matches_among_hundreds_are_those_of_a_loop() -> None:
    pool = synthetic(300, seed=3)
    index = make_index(pool)
    for query in pool[::15]:
        for floor in (0.3, 0.7):
            scores = [reference(other, query) for other in pool]
            assert index.find_matches(query, floor) == [(i, score) for i, score in enumerate(scores) if score >= floor]


@QUICK
@given(st.lists(texts, max_size=14), st.integers(min_value=1, max_value=20).map(lambda twentieths: twentieths / 20))
@example(["a b c d e f g", "a b c d e f g h i j k l m"], 0.7)  # 14 / 20, exactly on the threshold
@example(["a b c", "a b c d e"], 0.75)  # 0.7499999999999999 to rouge-score
@example(["a", "a b c d e f g h i j k l m n o p q r s"], 0.1)
@example(["", "", "!?"], 0.05)
def test_similar_pairs_are_those_of_a_loop_over_all_pairs(pool: list[str], threshold: float) -> None:
    limit = Fraction(str(threshold))
    pairs = [(i, j) for i in range(len(pool)) for j in range(i + 1, len(pool))]
    assert find_similar_pairs(pool, threshold) == [(i, j) for i, j in pairs if exact(pool[i], pool[j]) >= limit]


def test_similar_pairs_are_found_near_and_far_apart() -> None:
    places = [3, 255, 256, 511, 512, 599]
    pool = [f"unique{number} words{number} only{number}" for number in range(600)]
    for place in places:
        pool[place] = "what is a route leak"
    expected = [(i, j) for position, i in enumerate(places) for j in places[position + 1 :]]
    assert find_similar_pairs(pool, 0.7) == expected


@pytest.mark.parametrize("characters", [0, 1, 3, 40])
def test_words_beyond_the_characters_change_no_decision(monkeypatch: pytest.MonkeyPatch, characters: int) -> None:
    pool = synthetic(150, seed=characters)
    expected = [make_index(pool[:100]).find_nearest(text) for text in pool[100:]]
    matches = [make_index(pool[:100]).find_matches(text, 0.3) for text in pool[100:]]
    monkeypatch.setattr(rouge, "CHARACTERS", characters)
    index = make_index(pool[:100])
    assert [index.find_nearest(text) for text in pool[100:]] == expected
    assert [index.find_matches(text, 0.3) for text in pool[100:]] == matches
    assert expected[:10] == [nearest_by_loop(text, pool[:100]) for text in pool[100:110]]


def test_an_index_goes_on_after_all_characters_are_taken() -> None:
    index = NoveltyIndex()
    index._alphabet.encode(" ".join(f"w{number}" for number in range(rouge.CHARACTERS - 2)))
    pool = ["w5 last1 last2 after1 after2 w7", "after3 after4 w9", "w1 w2 w3"]
    for number, text in enumerate(pool):
        index.add(f"t{number}", text)
    for text in ("w5 after1 last2 after2", "after4 w9", "w3 w1 w2", "never seen", "last1"):
        assert index.find_nearest(text) == nearest_by_loop(text, pool)
