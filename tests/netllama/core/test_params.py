"""params.yaml: every problem in one error, the nearest known key, and a view of only what was declared."""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from netllama.core.errors import StageError
from netllama.core.params import load_params, read_params
from tests.support.source_tree import ROOT

PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))


def problems(path: str = "params.yaml") -> list[str]:
    """The problems that the file is refused for, without its name in front."""
    with pytest.raises(StageError) as raised:
        read_params(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ").split(" | ")


def test_the_repository_file_is_valid_and_typed(workdir: Path) -> None:
    params = read_params()
    raw = yaml.safe_load((workdir / "params.yaml").read_text(encoding="utf-8"))
    assert {name: section.model_dump() for name, section in params} == raw
    assert isinstance(params.train.learning_rate, float)


def test_every_problem_of_the_file_is_in_one_error(set_params: Callable[..., None]) -> None:
    set_params(
        **{"lora.r": 0, "train.optim": "sgd", "generate.families": [], "tokenize.max_len": 5, "split.val_size": "many"}
    )
    found = problems()
    assert len(found) == 5
    for key in ("lora.r", "train.optim", "generate.families", "tokenize.max_len", "split.val_size"):
        assert sum(problem.startswith(f"{key}: ") for problem in found) == 1, key


def test_an_unknown_key_names_the_nearest_known_one(set_params: Callable[..., None]) -> None:
    set_params(**{"train.learning_rte": 0.1})
    assert problems() == ["train.learning_rte: unknown key, nearest known is train.learning_rate"]


def test_an_unknown_section_names_the_nearest_known_one(workdir: Path) -> None:
    with open("params.yaml", "a", encoding="utf-8") as file:
        file.write("tokenise:\n  max_length: 5\n")
    assert problems() == ["tokenise: unknown key, nearest known is tokenize"]


def test_a_missing_key_and_a_missing_section_are_named(workdir: Path) -> None:
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    del raw["lora"]["r"], raw["split"]
    Path("params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    assert sorted(problems()) == ["lora.r: missing", "split: missing"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lora.r", "16"),
        ("lora.r", 16.0),
        ("train.max_steps", True),
        ("train.learning_rate", True),
        ("train.learning_rate", "fast"),
        ("train.learning_rate", 0),
        ("train.learning_rate", float("inf")),
        ("train.weight_decay", float("nan")),
        ("train.weight_decay", "-1e-05"),
        ("train.group_by_length", 1),
        ("train.group_by_length", "yes"),
        ("generate.top_p", 1.5),
        ("generate.families", "bgp_knowledge"),
        ("generate.families", [5]),
        ("generate.api", "responses"),
        ("generate.mode", "Batch"),
        ("generate.output_contract", "json"),
        ("generate.tasks_per_request", 0),
        ("generate.frequency_penalty", 2.5),
        ("generate.presence_penalty", -2.5),
        ("generate.stop", "20."),
        ("generate.stop", list("abcde")),
        ("generate.max_retries", -1),
        ("generate.request_timeout", 0),
        ("generate.usd_per_million_prompt_tokens", -0.15),
        ("generate.usd_per_million_prompt_tokens", "cheap"),
        ("generate.usd_per_million_prompt_tokens", True),
        ("generate.usd_per_million_prompt_tokens", float("nan")),
        ("generate.max_usd", float("inf")),
        ("generate.filters", "echo"),
        ("generate.filters", None),
        ("generate.blacklist", [5]),
        ("generate.rouge_threshold", 0),
        ("generate.question_threshold", 1.5),
        ("split.val_size", True),
        ("split.val_size", -1),
        ("split.val_size", 1.0),
        ("split.test_size", 12.5),
        ("split.extra", "mine.jsonl"),
        ("model.quantization", "int4"),
        ("model.revision", None),
        ("lora.target_modules", []),
        ("lora.target_modules", "q_proj"),
        ("lora.lora_dropout", 1.0),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(set_params: Callable[..., None], key: str, value: object) -> None:
    set_params(**{key: value})
    found = problems()
    assert {problem.split(": ")[0] for problem in found} == {key}


def test_a_wrong_value_is_quoted(set_params: Callable[..., None]) -> None:
    set_params(**{"lora.r": "sixteen"})
    assert problems() == ["lora.r: input should be a valid integer, not 'sixteen'"]


def test_a_number_that_yaml_reads_as_a_string_is_taken_back(workdir: Path) -> None:
    path = workdir / "params.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub("learning_rate: .+", "learning_rate: 1e-05", text), encoding="utf-8")
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["train"]["learning_rate"] == "1e-05"
    assert read_params().train.learning_rate == 1e-5


def test_a_size_keeps_whether_it_is_a_count_or_a_share(set_params: Callable[..., None]) -> None:
    set_params(**{"split.val_size": 5, "split.test_size": "1e-01"})
    split = read_params().split
    assert (split.val_size, type(split.val_size)) == (5, int)
    assert (split.test_size, type(split.test_size)) == (0.1, float)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generate.model_name": "gpt-x"}, "base_url is empty"),
        ({"generate.num_seed_exemplars": 0, "generate.num_machine_exemplars": 0}, "are both 0"),
        ({"generate.min_words": 200}, "min_words 200 is above max_words 150"),
        ({"generate.families": ["a", "b", "a"]}, "families names one twice"),
        ({"generate.output_contract": "json_schema", "generate.base_url": "http://a/v1"}, "needs api: chat"),
        ({"generate.output_contract": "json_schema", "generate.api": "chat"}, "and a base_url whose server has it"),
        ({"generate.mode": "batch"}, "set base_url, or use live"),
        ({"generate.stop": ["20."]}, "the embedded teacher has no stop"),
        ({"generate.usd_per_million_prompt_tokens": 1}, "one of usd_per_million_prompt_tokens and"),
        ({"generate.usd_per_million_completion_tokens": 0}, "one of usd_per_million_prompt_tokens and"),
        ({"generate.max_usd": 5}, "max_usd is a cap on what has no price"),
        ({"generate.required_imports": ["packet_analysis=scapy", "scapy"]}, "'scapy' is not `family=module`"),
        ({"generate.required_imports": ["packet_analysis=scapy.all"]}, "'packet_analysis=scapy.all' is not"),
        ({"split.val_size": 0.5, "split.test_size": 0.5}, "nothing to train on"),
        ({"model.revision": "main"}, "revision is for Hub ids"),
        ({"lora.init_lora_weights": "pissa"}, "lora_dropout 0.0"),
        ({"lora.init_lora_weights": "loftq", "lora.use_dora": True}, "use_dora measures the weights before loftq"),
        ({"train.max_steps": 1}, "is all warmup"),
        ({"train.early_stopping_patience": 6}, "it could never stop"),
    ],
)
def test_an_impossible_combination_is_refused(
    set_params: Callable[..., None], changes: dict[str, Any], said: str
) -> None:
    set_params(**changes)
    (problem,) = problems()
    assert problem.split(": ")[0] == next(iter(changes)).split(".")[0]
    assert said in problem


@pytest.mark.parametrize(
    "changes",
    [
        {"api": "chat", "output_contract": "json_schema", "stop": list("abcd")},
        {"api": "chat", "output_contract": "json_schema", "mode": "batch", "frequency_penalty": -2},
        {"usd_per_million_prompt_tokens": 0, "usd_per_million_completion_tokens": 0, "max_usd": 0},
        {"required_imports": ["a=scapy", "a=pyshark"], "filters": [], "blacklist": ["file"]},
    ],
)
def test_a_possible_combination_is_taken(set_params: Callable[..., None], changes: dict[str, Any]) -> None:
    changes = changes | {"base_url": "https://api.example.com/v1", "model_name": "gpt"}
    set_params(**{f"generate.{name}": value for name, value in changes.items()})
    assert changes.items() <= read_params().generate.model_dump().items()


@pytest.mark.parametrize(
    ("written", "price"),
    [("0.15", "0.15"), ("2", "2"), ("1e-05", "0.00001"), ("'0.15'", "0.15"), ("0.1234567890123", "0.1234567890123")],
)
def test_money_is_what_is_written_and_not_the_nearest_binary_fraction(written: str, price: str, workdir: Path) -> None:
    path = workdir / "params.yaml"
    keys = ("usd_per_million_prompt_tokens", "usd_per_million_completion_tokens", "max_usd")
    text = path.read_text(encoding="utf-8")
    for key in keys:
        text = re.sub(rf"^  {key}:.*$", f"  {key}: {written}", text, flags=re.MULTILINE)
    path.write_text(text, encoding="utf-8")
    generate = read_params().generate
    assert [getattr(generate, key) for key in keys] == [Decimal(price)] * 3


def test_no_price_and_no_cap_is_the_default(workdir: Path) -> None:
    generate = read_params().generate
    assert generate.usd_per_million_prompt_tokens is None
    assert generate.usd_per_million_completion_tokens is None
    assert generate.max_usd is None


def test_two_impossible_combinations_of_a_section_are_both_told(set_params: Callable[..., None]) -> None:
    set_params(**{"generate.min_words": 200, "generate.model_name": "gpt-x"})
    (problem,) = problems()
    assert "min_words" in problem
    assert "model_name" in problem


def test_a_yaml_syntax_error_names_its_line(workdir: Path) -> None:
    Path("params.yaml").write_text("model:\n  id: a\n  revision: b: c\nlora: 1\n", encoding="utf-8")
    with pytest.raises(StageError, match=r"^params\.yaml:3: not valid YAML \(.+\)$"):
        read_params()


def test_a_control_character_is_one_clear_line(workdir: Path) -> None:
    Path("params.yaml").write_text('model: "\x07"\n', encoding="utf-8")
    assert "not valid YAML" in problems()[0]


@pytest.mark.parametrize("text", ["", "- lora\n", "lora\n"])
def test_a_file_without_sections_says_what_is_expected(workdir: Path, text: str) -> None:
    Path("params.yaml").write_text(text, encoding="utf-8")
    assert "expected the sections model, generate, split" in problems()[0]


def test_an_emptied_section_says_so(workdir: Path) -> None:
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    Path("params.yaml").write_text(yaml.safe_dump(raw | {"lora": None}), encoding="utf-8")
    assert problems() == ["lora: a section of keys is expected, not None"]


def test_a_missing_file_is_named(workdir: Path) -> None:
    Path("params.yaml").unlink()
    assert problems() == ["no such file"]


def test_a_view_holds_only_what_was_declared(workdir: Path) -> None:
    view = load_params("lora", "model.precision", "model.quantization")
    assert view.lora.r == read_params().lora.r
    assert view.model.precision == "auto"
    assert view.model.quantization == "nf4"
    assert set(vars(view)) == {"lora", "model"}
    assert set(vars(view.model)) == {"precision", "quantization"}
    for undeclared in ("train", "generate"):
        with pytest.raises(AttributeError):
            getattr(view, undeclared)
    with pytest.raises(AttributeError):
        view.model.id  # noqa: B018


def test_a_view_still_checks_the_sections_that_it_leaves_out(set_params: Callable[..., None]) -> None:
    set_params(**{"train.max_steps": -1})
    with pytest.raises(StageError, match=r"train\.max_steps"):
        load_params("lora")


def test_params_are_frozen(workdir: Path) -> None:
    with pytest.raises(ValidationError):
        load_params("lora").lora.r = 5


def test_the_profiles_of_the_seed_document_are_there() -> None:
    assert {"llama-2-13b-chat.yaml", "llama-3.1-8b-instruct.yaml"} <= {path.name for path in PROFILES}


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_profile_is_a_complete_valid_file_for_a_bigger_model(path: Path) -> None:
    params = read_params(path)
    assert params.model.id != read_params(ROOT / "params.yaml").model.id
    assert params.generate.families == read_params(ROOT / "params.yaml").generate.families
