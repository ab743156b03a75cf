"""How much of a complete answer a text holds: the key facts it states, and its words beside the reference's.

A key fact counts as stated where enough of its content words stand in one passage of the answer. That is a measure of
recall, not of truth: an answer that denies the fact in the same words gets it too. So it stands beside ROUGE-L F1
(Lin 2004) and token F1 (Rajpurkar et al., arXiv 1606.05250), and no single one decides.
"""

import re
from collections import Counter
from collections.abc import Sequence

from netllama.novelty.rouge import compute_rouge_l
from netllama.scoring.answer_words import spell_words, split_words

SHARE = 0.6
"""Of a key fact's content words: as many must stand in one passage of the answer."""
PASSAGE = 2
"""Sentences of a passage at most."""
_COMMON = """a an and are as at be been but by can do does for from had has have if in into is it its may more most must
no not of on only or s so some such than that the their them then there these they this those to was were what when
which while who why will with would"""
_STOP_WORDS = frozenset(_COMMON.split())
_DECIMAL = re.compile(r"\d[\d,]*(?:\.\d+)?")
_SENTENCE_END = re.compile(r"(?<=[.!?।])\s+|(?<=[。！？])\s*|\n+")
_ENDINGS = ("ations", "ation", "ingly", "ings", "ing", "edly", "ed", "ies", "es", "ly", "s")


def list_facts(reference: str, key_facts: Sequence[str]) -> list[str]:
    """What an answer should state: the key facts; where nobody wrote them, the sentences of the reference answer."""
    return list(key_facts) or [each for each in _SENTENCE_END.split(reference) if find_content_words(each)]


def measure_key_facts(answer: str, key_facts: Sequence[str]) -> float:
    """The share of key facts that the answer states; 0 where there are none."""
    return sum(states_fact(answer, fact) for fact in key_facts) / len(key_facts) if key_facts else 0.0


def states_fact(answer: str, fact: str) -> bool:
    """Whether one passage of `answer` holds at least `SHARE` of the content words of `fact`, and all its numbers."""
    wanted = find_content_words(fact)
    if not wanted:
        return False
    sentences = _SENTENCE_END.split(answer)
    for start in range(len(sentences)):
        passage = " ".join(sentences[start : start + PASSAGE])
        common = wanted & find_content_words(passage)
        if len(common) >= SHARE * len(wanted) and _find_numbers(fact) <= _find_numbers(passage):
            return True
    return False


def find_content_words(text: str) -> set[str]:
    """The words that carry meaning, without common endings: `announces`, `announced` and `announcing` are one."""
    return {_cut_ending(word) for word in split_words(text) if word not in _STOP_WORDS}


def compute_token_f1(answer: str, reference: str) -> float:
    """F1 of the bags of words, from 0 to 1; 0 if either text has none."""
    one, other = Counter(split_words(answer)), Counter(split_words(reference))
    common = (one & other).total()
    return 2 * common / (one.total() + other.total()) if common else 0.0


def measure_open_answer(answer: str, reference: str, key_facts: Sequence[str]) -> dict[str, float]:
    """All measures by name: `key_facts`, `rouge_l`, `token_f1`, and `length`, the answer's words by the reference's."""
    words = max(1, len(split_words(reference)))
    return {
        "key_facts": round(measure_key_facts(answer, list_facts(reference, key_facts)), 4),
        "rouge_l": round(compute_rouge_l(spell_words(answer), spell_words(reference)), 4),
        "token_f1": round(compute_token_f1(answer, reference), 4),
        "length": round(len(split_words(answer)) / words, 4),
    }


def _find_numbers(text: str) -> set[str]:
    """The numbers of a text: 1.5 is one, not a 1 and a 5."""
    return {number.replace(",", "").rstrip(".") for number in _DECIMAL.findall(text)}


def _cut_ending(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)] + ("y" if ending == "ies" else "")
    return word
