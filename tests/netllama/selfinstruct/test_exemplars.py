"""The examples of a request: number, budget, categories, and what a change of the pool can reach."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice

from hypothesis import assume, given
from hypothesis import strategies as st

from netllama.core.records import SeedTask
from netllama.selfinstruct.exemplars import draw_exemplars, estimate_length, spread_over_categories
from tests.support.families import seed

Shape = list[tuple[int, str]]
"""Size and category of each task."""


def pool(name: str, shape: Shape) -> list[SeedTask]:
    return [seed(f"{name}{number}", size, category) for number, (size, category) in enumerate(shape)]


def draws(seeds: Sequence[SeedTask], machine: Sequence[SeedTask], *numbers: int, of: int = 8) -> list[list[SeedTask]]:
    return [draw_exemplars(seeds, machine, *numbers, f"42/family/{slot}") for slot in range(of)]


shapes = st.lists(st.tuples(st.integers(1, 60), st.sampled_from("abcd")), max_size=12)
numbers = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 150)).filter(lambda found: sum(found[:2]) > 0)


@given(shapes.filter(bool), shapes, numbers, st.text())
def test_examples_keep_to_their_numbers_and_to_the_budget(
    seed_shape: Shape, machine_shape: Shape, numbers: tuple[int, int, int], draw: str
) -> None:
    num_seeds, num_machine, max_tokens = numbers
    seeds, machine = pool("seed", seed_shape), pool("made", machine_shape)
    exemplars = draw_exemplars(seeds, machine, *numbers, draw)
    assert exemplars == draw_exemplars(seeds, machine, *numbers, draw), "the same name draws the same examples"
    used = sum(estimate_length(task) for task in exemplars)
    if used > max_tokens:
        assert exemplars == [min(seeds, key=estimate_length)]
    assert 1 <= len(exemplars) <= num_seeds + num_machine
    assert sum(task in machine for task in exemplars) <= num_machine
    assert len({task.id for task in exemplars}) == len(exemplars), "none twice"
    if len(exemplars) < num_seeds + num_machine:
        left = [task for task in seeds if task not in exemplars]
        assert all(used + estimate_length(task) > max_tokens for task in left), "room is left for one more seed"


def test_the_name_of_the_draw_decides_it() -> None:
    seeds = pool("seed", [(1, "a")] * 9)
    found = draws(seeds, [], 3, 0, 100, of=50)
    assert len({tuple(task.id for task in drawn) for drawn in found}) > 40
    assert draw_exemplars(seeds[::-1], [], 3, 0, 100, "42/family/0") == found[0], "the order of the file does not"


def test_seeds_take_the_places_of_machine_made_examples_while_there_are_none() -> None:
    seeds, machine = pool("seed", [(1, "a")] * 9), pool("made", [(1, "made")] * 9)
    for made, expected in (([], 0), (machine[:1], 1), (machine, 2)):
        exemplars = draw_exemplars(seeds, made, 3, 2, 100, "draw")
        assert (len(exemplars), sum(task in machine for task in exemplars)) == (5, expected)


def test_a_machine_made_example_stands_in_every_place_sooner_or_later() -> None:
    seeds, machine = pool("seed", [(1, "a")] * 6), pool("made", [(1, "made")] * 6)
    found = draws(seeds, machine, 2, 1, 100, of=50)
    assert {place for drawn in found for place, task in enumerate(drawn) if task in machine} == {0, 1, 2}


def test_every_seed_and_every_machine_made_task_is_drawn_sooner_or_later_and_in_every_place() -> None:
    seeds, machine = pool("seed", [(1, "a"), (1, "b")] * 3), pool("made", [(1, "made")] * 4)
    found = draws(seeds, machine, 1, 1, 100, of=300)
    for place in (0, 1):
        assert {drawn[place].id for drawn in found} == {task.id for task in [*seeds, *machine]}


@given(shapes, st.text())
def test_each_category_comes_once_before_any_comes_twice(shape: Shape, draw: str) -> None:
    tasks = pool("seed", shape)
    order = list(spread_over_categories(tasks, draw))
    assert sorted(task.id for task in order) == sorted(task.id for task in tasks)
    seen = Counter[str]()
    turns = []
    for task in order:
        turns.append(seen[task.category])
        seen[task.category] += 1
    assert turns == sorted(turns)


def test_a_rare_category_is_as_likely_as_a_common_one() -> None:
    seeds = pool("seed", [(1, "common")] * 18 + [(1, "rare")] + [(1, "seldom")] * 2)
    found = Counter(drawn[0].category for drawn in draws(seeds, [], 1, 0, 100, of=3000))
    assert all(900 < found[name] < 1100 for name in ("common", "rare", "seldom")), found  # 1000 +- 4 deviations
    assert all({task.category for task in drawn} == set(found) for drawn in draws(seeds, [], 3, 0, 100))


def test_within_a_category_every_task_is_as_likely() -> None:
    found = Counter(
        next(iter(spread_over_categories(pool("seed", [(1, "a")] * 4), str(draw)))).id for draw in range(2000)
    )
    assert all(415 < count < 585 for count in found.values()), found
    assert len(found) == 4


def test_what_does_not_fit_gives_its_place_to_the_next_of_its_category() -> None:
    tasks = pool("seed", [(90, "a")] * 5 + [(1, "a")] + [(1, "b")] * 5)
    for draw in range(20):
        first_two = islice(spread_over_categories(tasks, str(draw), lambda task: estimate_length(task) < 50), 2)
        assert {task.category for task in first_two} == {"a", "b"}


@given(shapes.filter(bool), shapes, numbers, st.data())
def test_a_changed_task_changes_only_the_draws_that_drew_it_or_draw_it_now(
    seed_shape: Shape, machine_shape: Shape, numbers: tuple[int, int, int], data: st.DataObject
) -> None:
    seeds, machine = pool("seed", seed_shape), pool("made", machine_shape)
    edited = data.draw(st.sampled_from([seeds, machine]), "which pool")
    place = data.draw(st.integers(0, len(edited)), "where")
    size, category = data.draw(st.tuples(st.integers(1, 60), st.sampled_from("abcde")), "new task")
    change = data.draw(st.sampled_from(["add", "edit", "remove"]), "what is done")
    changed = edited.copy()
    if change == "add":
        changed.insert(place, seed("new", size, category))
    else:
        assume(place < len(edited))
        changed[place : place + 1] = [seed(edited[place].id, size, category)] if change == "edit" else []
    new_seeds, new_machine = (changed, machine) if edited is seeds else (seeds, changed)
    assume(new_seeds)
    name = "new" if change == "add" else edited[place].id
    for old, new in zip(draws(seeds, machine, *numbers), draws(new_seeds, new_machine, *numbers), strict=True):
        if name not in {task.id for task in [*old, *new]}:
            assert old == new
