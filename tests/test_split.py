"""The split against brute force: no twin on another side, exact quotas, old rows stay where they were."""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from stages import split
from stages.core.errors import StageError
from stages.core.files import read_json, write_json, write_jsonl
from stages.core.params import load_params
from stages.core.records import Instruction

WORDS = [f"{a}{b}" for a in ("bgp", "hold", "peer", "route", "path", "origin", "next", "flap") for b in range(40)]


def row(text: str, number: int, family: str = "bgp_knowledge") -> Instruction:
    return Instruction(
        id=f"{family}-{number:05d}", family=family, source="generated", instruction=text, input="", output="done"
    )


def distinct_rows(number: int, family: str = "bgp_knowledge", seed: int = 0) -> list[Instruction]:
    """Texts of 12 words drawn from 320: no two are near-duplicates."""
    draw = random.Random(f"{seed}/{family}")
    return [row(" ".join(draw.sample(WORDS, 12)), index, family) for index in range(number)]


def side_of(sides: Mapping[str, Sequence[Instruction]]) -> dict[str, str]:
    return {row.id: name for name, rows in sides.items() for row in rows}


def twins(rows: Sequence[Instruction], threshold: float) -> list[tuple[str, str]]:
    """Every pair at or above the threshold, by Google's rouge-score, one pair after the other."""
    scorer = RougeScorer(["rougeL"])
    texts = [f"{row.instruction} {row.input} {row.output}" for row in rows]
    return [
        (rows[i].id, rows[j].id)
        for i in range(len(rows))
        for j in range(i)
        if scorer.score(texts[i], texts[j])["rougeL"].fmeasure >= threshold - 1e-9
    ]


def components(ids: Sequence[str], pairs: Sequence[tuple[str, str]]) -> set[frozenset[str]]:
    """What hangs together, by merging sets until nothing changes."""
    groups = {name: {name} for name in ids}
    for left, right in pairs:
        merged = groups[left] | groups[right]
        for name in merged:
            groups[name] = merged
    return {frozenset(group) for group in groups.values()}


VOCABULARY = ["BGP", "bgp", "Hold", "peer,", "route-map", "é", "AS1", "\n"]
SHORT_TEXT = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=9).map(" ".join).filter(str.strip)
SHORT_TEXTS = st.lists(SHORT_TEXT, min_size=3, max_size=14)


@settings(max_examples=60, deadline=None)
@given(texts=SHORT_TEXTS, threshold=st.sampled_from([0.4, 0.5, 0.6, 0.7, 0.8, 1.0]), seed=st.integers(0, 5))
def test_groups_are_those_of_a_brute_force_loop_and_never_cross_sides(
    texts: list[str], threshold: float, seed: int
) -> None:
    families = ("a", "b")
    rows = [row(text, index, families[index % 2]) for index, text in enumerate(texts)]
    rows = split.without_exact_duplicates(rows)
    pairs = twins(rows, threshold)
    groups = split.near_duplicate_groups(rows, threshold)
    assert {frozenset(member.id for member in group) for group in groups} == components([r.id for r in rows], pairs)
    sides = split.assign(groups, val=len(rows) // 4, test=len(rows) // 3, seed=seed)
    side = side_of(sides)
    assert sorted(side) == sorted(r.id for r in rows)
    assert all(side[left] == side[right] for left, right in pairs)
    assert len(sides["val"]) <= len(rows) // 4
    assert len(sides["test"]) <= len(rows) // 3


def test_a_twin_hundreds_of_rows_away_is_found() -> None:
    rows = distinct_rows(600)
    twin_rows = [row(f"{rows[i].instruction} again", 1000 + i) for i in range(40)]
    sides = split.assign(split.near_duplicate_groups([*rows, *twin_rows], 0.7), val=200, test=200, seed=1)
    side = side_of(sides)
    pairs = [(rows[i].id, twin_rows[i].id) for i in range(40)]
    assert all(side[left] == side[right] for left, right in pairs)
    assert {side[left] for left, _ in pairs} == {"train", "val", "test"}


def test_a_pair_exactly_at_the_threshold_stays_together() -> None:
    # 7 of 10 words in common, in order: ROUGE-L F1 = 0.7.
    same = "a b c d e f"
    rows = [row(f"{same} g h i", 1), row(f"{same} x y z", 2)]
    assert len(split.near_duplicate_groups(rows, 0.7)) == 1
    assert len(split.near_duplicate_groups(rows, 0.71)) == 2


def test_a_chain_of_similar_rows_is_one_group() -> None:
    rows = [row("a b c d e f g h", 1), row("a b c d e f x y", 2), row("u v c d e f x y", 3)]
    assert len(split.near_duplicate_groups([rows[0], rows[2]], 0.7)) == 2
    assert len(split.near_duplicate_groups(rows, 0.7)) == 1


@settings(deadline=None)
@given(
    counts=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 30), min_size=1),
    shares=st.tuples(st.integers(0, 100), st.integers(0, 100)),
    seed=st.integers(),
)
def test_quotas_are_exact_and_stratified_when_all_rows_are_distinct(
    counts: dict[str, int], shares: tuple[int, int], seed: int
) -> None:
    total = sum(counts.values())
    test = shares[0] * (total - 1) // 100
    val = shares[1] * (total - 1 - test) // 100
    groups = [[row("x", number, family)] for family, size in counts.items() for number in range(size)]
    sides = split.assign(groups, val, test, seed)
    assert {name: len(rows) for name, rows in sides.items()} == {
        "train": total - val - test,
        "val": val,
        "test": test,
    }
    for name, wanted, slack in (("test", test, 1), ("val", val, 2)):
        held = Counter(member.family for member in sides[name])
        for family, size in counts.items():
            assert abs(held[family] - wanted * size / total) < slack


@given(counts=st.dictionaries(st.text(max_size=3), st.integers(1, 50), min_size=1), share=st.integers(0, 100))
def test_a_quota_is_the_proportional_share_rounded_up_or_down(counts: dict[str, int], share: int) -> None:
    rows = sum(counts.values())
    total = rows * share // 100
    shared = split.quotas(total, counts)
    assert sum(shared.values()) == total
    assert all(abs(shared[name] - total * count / rows) < 1 for name, count in counts.items())
    assert all(shared[name] <= count for name, count in counts.items())


def test_adding_rows_leaves_most_old_rows_on_their_side() -> None:
    old, new = distinct_rows(400), [row(r.instruction, 9000 + i) for i, r in enumerate(distinct_rows(40, seed=7))]

    def assigned(rows: list[Instruction], seed: int = 42) -> dict[str, str]:
        return side_of(split.assign([[r] for r in rows], round(0.1 * len(rows)), round(0.15 * len(rows)), seed))

    before, after, other_seed = assigned(old), assigned([*new, *old]), assigned(old, seed=43)
    assert sum(before[r.id] == after[r.id] for r in old) >= 0.95 * len(old)
    assert sum(before[r.id] == other_seed[r.id] for r in old) < 0.8 * len(old)


def test_of_exact_duplicates_the_earlier_one_stays() -> None:
    rows = [row("Explain  the\nhold timer.", 1), row("Another.", 2), row("Explain the hold timer. ", 3)]
    assert [r.id for r in split.without_exact_duplicates(rows)] == [rows[0].id, rows[1].id]


def test_rows_that_differ_in_an_operator_or_in_their_script_are_no_duplicates() -> None:
    texts = ["print(path[0])", "print(path[-1])", "什么是路由器?", "为什么需要它?", "Что такое маршрут?"]
    rows = [row(text, number) for number, text in enumerate(texts)]
    assert split.without_exact_duplicates(rows) == rows


# --- the whole stage


@pytest.fixture
def pool(workdir: Path) -> list[Instruction]:
    """60 generated rows of two families beside the seeds of the repository."""
    rows = [*distinct_rows(40), *distinct_rows(20, "packet_analysis")]
    write_jsonl(split.GENERATED, (row.model_dump() for row in rows))
    return rows


def outs() -> dict[str, list[dict[str, Any]]]:
    return {
        name: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for name, path in split.SPLITS.items()
    }


def seed_ids() -> set[str]:
    paths = Path("data/seeds").glob("*.jsonl")
    return {json.loads(line)["id"] for path in paths for line in path.read_text(encoding="utf-8").splitlines()}


def test_every_row_lands_on_one_side_and_the_metrics_say_where(
    pool: list[Instruction], set_params: Callable[..., None]
) -> None:
    set_params(**{"split.val_size": 11, "split.test_size": 0.2})
    split.main()
    sides = outs()
    ids = [r["id"] for rows in sides.values() for r in rows]
    assert sorted(ids) == sorted(seed_ids() | {r.id for r in pool})
    metrics = read_json(split.METRICS)
    total = len(ids)
    assert metrics["rows"] == {"train": total - 11 - round(total * 0.2), "val": 11, "test": round(total * 0.2)}
    assert metrics["rows"] == {name: len(rows) for name, rows in sides.items()}
    for key in ("family", "source"):
        assert metrics[key] == {name: Counter(r[key] for r in rows) for name, rows in sides.items()}
    assert metrics["exact_duplicates"] == 0
    assert all(rows == sorted(rows, key=lambda r: (r["family"], r["id"])) for rows in sides.values())


def test_the_same_input_gives_the_same_bytes(pool: list[Instruction]) -> None:
    paths = [*split.SPLITS.values(), split.METRICS]
    split.main()
    first = [path.read_bytes() for path in paths]
    split.main()
    assert [path.read_bytes() for path in paths] == first


def test_a_generated_copy_of_a_seed_is_dropped_and_counted(
    pool: list[Instruction], capsys: pytest.CaptureFixture[str]
) -> None:
    seed = json.loads(Path("data/seeds/bgp_knowledge.jsonl").read_text(encoding="utf-8").splitlines()[0])
    copy = Instruction(
        id="copy", family="bgp_knowledge", source="generated",
        instruction=seed["instruction"], input=seed["input"], output=seed["output"],
    )  # fmt: skip
    write_jsonl(split.GENERATED, (row.model_dump() for row in [copy, *pool]))
    split.main()
    ids = {r["id"] for rows in outs().values() for r in rows}
    assert "copy" not in ids
    assert seed["id"] in ids
    assert read_json(split.METRICS)["exact_duplicates"] == 1
    assert "1 exact duplicates dropped" in capsys.readouterr().out


def test_near_duplicates_are_counted_and_kept_on_one_side(pool: list[Instruction]) -> None:
    near = [row(f"{r.instruction} please", 5000 + i) for i, r in enumerate(pool[:10])]
    write_jsonl(split.GENERATED, (r.model_dump() for r in [*pool, *near]))
    split.main()
    side = {r["id"]: name for name, rows in outs().items() for r in rows}
    assert all(side[r.id] == side[twin.id] for r, twin in zip(pool[:10], near, strict=True))
    assert read_json(split.METRICS)["near_duplicates"] >= 10


def test_asking_for_more_rows_than_there_are_says_what_to_change(
    pool: list[Instruction], set_params: Callable[..., None]
) -> None:
    set_params(**{"split.val_size": 1300, "split.test_size": 0.5})
    rows = len(split.load_rows(load_params("generate.families").generate.families, []))
    said = f"^split\\.val_size and split\\.test_size ask for 1300 \\+ {round(rows / 2)} of {rows} rows: .*"
    with pytest.raises(StageError, match=said):
        split.main()
    assert not any(path.exists() for path in [*split.SPLITS.values(), split.METRICS])


EXTRA_ROWS = [
    {"instruction": "Name the port of BGP.", "output": "TCP 179.", "text": "joined", "score": 1},
    {"instruction": "Name the port of NTP.", "input": "ntp", "output": "UDP 123.", "family": "packet_analysis"},
]


@pytest.mark.parametrize("name", ["mine.json", "mine.jsonl"])
def test_your_own_data_joins_without_its_stray_keys(
    pool: list[Instruction], set_params: Callable[..., None], name: str
) -> None:
    (write_json if name.endswith(".json") else write_jsonl)(Path("data/extra") / name, EXTRA_ROWS)
    set_params(**{"split.extra": [name]})
    split.main()
    rows = [r for side in outs().values() for r in side if r["source"] == "extra"]
    assert sorted(rows, key=lambda r: r["id"]) == [
        {
            "id": "mine-000001",
            "family": "extra",
            "category": "",
            "source": "extra",
            "instruction": "Name the port of BGP.",
            "input": "",
            "output": "TCP 179.",
        },
        {
            "id": "mine-000002",
            "family": "packet_analysis",
            "category": "",
            "source": "extra",
            "instruction": "Name the port of NTP.",
            "input": "ntp",
            "output": "UDP 123.",
        },
    ]


def test_your_own_data_stays_out_until_it_is_named(pool: list[Instruction]) -> None:
    write_jsonl(Path("data/extra/mine.jsonl"), EXTRA_ROWS)
    split.main()
    assert {r["source"] for side in outs().values() for r in side} == {"seed", "generated"}


def test_a_bad_row_of_your_own_data_is_named_and_nothing_is_written(
    pool: list[Instruction], set_params: Callable[..., None]
) -> None:
    write_jsonl(Path("data/extra/mine.jsonl"), [*EXTRA_ROWS, {"instruction": "No output."}])
    set_params(**{"split.extra": ["mine.jsonl"]})
    with pytest.raises(StageError, match=r"^data/extra/mine\.jsonl:3: output: field required$"):
        split.main()
    assert not any(path.exists() for path in split.SPLITS.values())


def test_a_missing_file_of_your_own_is_named(pool: list[Instruction], set_params: Callable[..., None]) -> None:
    set_params(**{"split.extra": ["typo.jsonl"]})
    with pytest.raises(StageError, match=r"^data/extra/typo\.jsonl: no such file$"):
        split.main()


@pytest.mark.parametrize("name", ["../seeds/bgp_knowledge.jsonl", "/etc/hostname", "deep/mine.jsonl", "..", "."])
def test_a_path_outside_the_hashed_folder_is_refused(
    pool: list[Instruction], set_params: Callable[..., None], name: str
) -> None:
    set_params(**{"split.extra": [name]})
    with pytest.raises(StageError, match=r"^split\.extra: .*: put the file into data/extra/, which is hashed"):
        split.main()


def test_two_files_of_one_name_would_share_ids_and_are_refused(
    pool: list[Instruction], set_params: Callable[..., None]
) -> None:
    set_params(**{"split.extra": ["mine.json", "mine.jsonl"]})
    with pytest.raises(StageError, match=r"^split\.extra: two files are called mine: "):
        split.main()
