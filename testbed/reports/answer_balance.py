"""Chooses questions so that no answer is right too often: the most frequent one must not be worth guessing."""

from collections import Counter
from collections.abc import Sequence

LARGEST_SHARE = 0.15


def balance_answers(answers: Sequence[str], quota: int, choices: tuple[str, ...] = ()) -> list[int]:
    """Indices of the first answers up to `quota`, or of fewer where a few answers would be too frequent.

    Of n chosen ones, each answer is that of at most 15 % or of one. If there are only certain `choices`, their numbers
    differ by at most one.
    """
    known = Counter(answers)
    for size in range(quota, 0, -1):
        if choices:
            least, more = divmod(size, len(choices))
            larger = sorted(choices, key=lambda choice: -known[choice])[:more]
            most = {choice: least + (choice in larger) for choice in choices}
        else:
            most = dict.fromkeys(known, max(1, int(LARGEST_SHARE * size)))
        if sum(min(known[answer], count) for answer, count in most.items()) >= size:
            break
    else:
        return []
    chosen: list[int] = []
    taken = Counter[str]()
    for index, answer in enumerate(answers):
        if taken[answer] < most[answer] and len(chosen) < size:
            chosen.append(index)
            taken[answer] += 1
    return chosen
