"""params.yaml: every problem in one error, the nearest known key, and a view of only what was declared."""

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from netllama.core.errors import StageError
from netllama.core.moved_keys import MOVED, REMOVED
from netllama.core.params import Params, View, read_params
from netllama.core.sections import LoraParams
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
    assert params.model_dump(mode="json") == raw
    assert isinstance(params.train.learning_rate, float)
    assert isinstance(params.families, tuple)


def test_every_problem_of_the_file_is_in_one_error(set_params: Callable[..., None]) -> None:
    set_params(**{"lora.r": 0, "train.optim": "sgd", "families": [], "tokenize.max_len": 5, "split.val_size": "many"})
    found = problems()
    assert len(found) == 5
    for key in ("lora.r", "train.optim", "families", "tokenize.max_len", "split.val_size"):
        assert sum(problem.startswith(f"{key}: ") for problem in found) == 1, key


def test_an_unknown_key_names_the_nearest_known_one(set_params: Callable[..., None]) -> None:
    set_params(**{"train.learning_rte": 0.1})
    assert problems() == ["train.learning_rte: unknown key, nearest known is train.learning_rate"]


def test_an_unknown_section_names_the_nearest_known_one(workdir: Path) -> None:
    with open("params.yaml", "a", encoding="utf-8") as file:
        file.write("tokenise:\n  max_length: 5\n")
    assert problems() == ["tokenise: unknown key, nearest known is tokenize"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("train.lora_alpha", "nearest known is lora.lora_alpha"),
        ("lora.loraplus_ratio", "nearest known is train.loraplus_lr_ratio"),
        ("train.eval_step", "nearest known is train.eval_steps"),
        ("evaluate.max_new_token", "nearest known is evaluate.max_new_tokens"),
        ("lora.peft_type", "the keys of lora are r, lora_alpha, lora_dropout, target_modules, use_rslora, use_dora"),
        ("train.max_seq_length", "nearest known is tokenize.max_length"),
        ("train.num_epochs", "the keys of train are seed, max_steps, "),
        ("train.fp16", "the keys of train are seed, max_steps, "),
        ("split.stratify_by", "the keys of split are seed, val_size, "),
    ],
)
def test_a_key_that_is_like_none_is_not_said_to_be_near_to_one(
    set_params: Callable[..., None], key: str, said: str
) -> None:
    set_params(**{key: 1})
    (problem,) = problems()
    assert problem.startswith(f"{key}: unknown key, {said}")


def test_a_section_that_is_like_none_is_answered_with_all_of_them(workdir: Path) -> None:
    with open("params.yaml", "a", encoding="utf-8") as file:
        file.write("wandb:\n  project: x\n")
    assert problems() == [
        "wandb: unknown key, the sections are model, loading, prompt, families, generate, teacher, "
        "filters, contamination, split, retrieve, tokenize, lora, train, evaluate, judge, launch"
    ]


def test_a_value_that_is_like_none_is_not_said_to_be_near_to_one(set_params: Callable[..., None]) -> None:
    set_params(**{"filters.enabled": ["toxicity"]})
    (problem,) = problems()
    assert problem.startswith("filters.enabled: 'toxicity' is unknown; expected 'empty_field', ")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("split.val_size", "27", "expected a count (1300) or a share below 1 (0.1), not '27': write it without quotes"),
        ("split.test_size", "some", "expected a count (1300) or a share below 1 (0.1), not 'some'"),
        ("lora.r", "16", "input should be a valid integer, not '16': write it without quotes"),
        ("train.group_by_length", "true", "input should be a valid boolean, not 'true': write it without quotes"),
        ("train.group_by_length", "yes", "input should be a valid boolean, not 'yes'"),
        ("model.revision", 1234567, "input should be a valid string, not 1234567: write it in quotes"),
        (
            "lora.init_lora_weights",
            "orthogonal",
            "'orthogonal' is unknown; expected default, gaussian, pissa, pissa_niter_N (N: 1, 2, 3, ...) or loftq",
        ),
        (
            "lora.init_lora_weights",
            "pissa_niter_0",
            "'pissa_niter_0' is unknown; expected default, gaussian, pissa, pissa_niter_N (N: 1, 2, 3, ...) or loftq",
        ),
        ("families", ["a/b"], "'a/b' is unknown; expected a name of letters (A to Z, a to z), digits, _ and -"),
    ],
)
def test_the_error_of_a_value_says_in_words_what_to_write(
    set_params: Callable[..., None], key: str, value: object, said: str
) -> None:
    set_params(**{key: value})
    assert problems() == [f"{key}: {said}"]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 9)
)
"""Nine lines of YAML that are 387 million values."""


@pytest.mark.parametrize("line", ["families: *a8", "train: *a8", "model: {id: *a8}", "split: {extra: *a8}"])
def test_aliases_of_aliases_are_named_in_a_short_line(line: str, workdir: Path) -> None:
    Path("params.yaml").write_text(BOMB + line)
    assert max(map(len, problems())) < 1000


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
        ("teacher.top_p", 1.5),
        ("families", "bgp_knowledge"),
        ("families", [5]),
        ("teacher.api", "assistants"),
        ("teacher.mode", "Batch"),
        ("generate.output_contract", "json"),
        ("generate.tasks_per_request", 0),
        ("teacher.frequency_penalty", 2.5),
        ("teacher.presence_penalty", -2.5),
        ("teacher.stop", "20."),
        ("teacher.stop", list("abcde")),
        ("teacher.max_retries", -1),
        ("teacher.request_timeout", 0),
        ("teacher.usd_per_million_prompt_tokens", -0.15),
        ("teacher.usd_per_million_prompt_tokens", "cheap"),
        ("teacher.usd_per_million_prompt_tokens", True),
        ("teacher.usd_per_million_prompt_tokens", float("nan")),
        ("teacher.max_usd", float("inf")),
        ("filters.enabled", "echo"),
        ("filters.enabled", None),
        ("filters.blacklist", [5]),
        ("filters.rouge_threshold", 0),
        ("contamination.similarity_threshold", 1.5),
        ("split.val_size", True),
        ("split.val_size", -1),
        ("split.val_size", 1.0),
        ("split.test_size", 12.5),
        ("split.extra", "mine.jsonl"),
        ("loading.quantization", "int4"),
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
        ({"teacher.model_name": "gpt-x"}, "base_url is empty"),
        ({"generate.num_seed_exemplars": 0, "generate.num_machine_exemplars": 0}, "are both 0"),
        ({"filters.min_words": 200}, "min_words 200 is above max_words 150"),
        ({"families": ["a", "b", "a"]}, "the list has the same name twice"),
        (
            {"generate.output_contract": "json_schema", "teacher.base_url": "http://a/v1"},
            "needs teacher.api responses or chat",
        ),
        ({"generate.output_contract": "json_schema", "teacher.api": "chat"}, "and a teacher.base_url whose server"),
        ({"teacher.mode": "batch"}, "set base_url, or use live"),
        ({"teacher.stop": ["20."]}, "the embedded teacher does not support stop"),
        ({"teacher.api": "responses"}, "the embedded teacher has no api responses"),
        ({"teacher.reasoning_effort": "low", "teacher.api": "chat"}, "has no reasoning_effort and no service_tier"),
        ({"teacher.api": "responses", "teacher.base_url": "http://a/v1", "teacher.stop": ["20."]}, "has no stop"),
        ({"teacher.prompt_cache": True}, "prompt_cache need api responses or chat"),
        (
            {"teacher.mode": "batch", "teacher.base_url": "http://a/v1", "teacher.service_tier": "flex"},
            "leave service_tier empty",
        ),
        ({"teacher.base_url": "localhost:11434/v1"}, "is it http://localhost:11434/v1?"),
        ({"teacher.base_url": "127.0.0.1:8000/v1"}, "is it http://127.0.0.1:8000/v1?"),
        ({"teacher.base_url": "api.openai.com/v1"}, "is it https://api.openai.com/v1?"),
        ({"teacher.base_url": "https:/api.openai.com/v1"}, "is no http or https address"),
        ({"teacher.base_url": "ftp://a/v1"}, "is no http or https address"),
        ({"teacher.base_url": "http://0.0.0.0:8000/v1"}, "is it http://127.0.0.1:8000/v1?"),
        ({"teacher.base_url": "http://[::]:8000/v1"}, "is it http://127.0.0.1:8000/v1?"),
        ({"teacher.base_url": "http://a/v1/chat/completions/"}, "is it http://a/v1?"),
        ({"teacher.usd_per_million_prompt_tokens": 1}, "one of usd_per_million_prompt_tokens and"),
        ({"teacher.usd_per_million_completion_tokens": 0}, "one of usd_per_million_prompt_tokens and"),
        ({"teacher.max_usd": 5}, "max_usd needs both prices"),
        ({"filters.required_imports": ["packet_analysis=scapy", "scapy"]}, "'scapy' is not `family=module`"),
        ({"filters.required_imports": ["packet_analysis=scapy.all"]}, "'packet_analysis=scapy.all' is not"),
        ({"split.val_size": 0.5, "split.test_size": 0.5}, "nothing to train on"),
        ({"model.revision": "main"}, "revision is for Hub ids"),
        ({"lora.init_lora_weights": "pissa", "lora.lora_dropout": 0.05}, "lora_dropout 0.0"),
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
    assert problem.split(": ")[0].split(".")[0] == next(iter(changes)).split(".")[0]
    assert said in problem


@pytest.mark.parametrize(
    "changes",
    [
        {"teacher.api": "chat", "generate.output_contract": "json_schema", "teacher.stop": list("abcd")},
        {
            "teacher.api": "chat",
            "generate.output_contract": "json_schema",
            "teacher.mode": "batch",
            "teacher.frequency_penalty": -2,
        },
        {
            "teacher.usd_per_million_prompt_tokens": 0,
            "teacher.usd_per_million_completion_tokens": 0,
            "teacher.max_usd": 0,
        },
        {"filters.required_imports": ["a=scapy", "a=pyshark"], "filters.enabled": [], "filters.blacklist": ["file"]},
    ],
)
def test_a_possible_combination_is_taken(set_params: Callable[..., None], changes: dict[str, Any]) -> None:
    changes = changes | {"teacher.base_url": "https://api.example.com/v1", "teacher.model_name": "gpt"}
    set_params(**changes)
    read = read_params().model_dump()
    for key, value in changes.items():
        section, _, name = key.partition(".")
        assert read[section][name] == (tuple(value) if isinstance(value, list) else value)


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
    teacher = read_params().teacher
    assert [getattr(teacher, key) for key in keys] == [Decimal(price)] * 3


def test_no_price_and_no_cap_is_the_default(workdir: Path) -> None:
    teacher = read_params().teacher
    assert teacher.usd_per_million_prompt_tokens is None
    assert teacher.usd_per_million_completion_tokens is None
    assert teacher.max_usd is None


def test_all_impossible_combinations_are_told_within_a_section_and_across_sections(
    set_params: Callable[..., None],
) -> None:
    set_params(
        **{
            "teacher.max_usd": 1,
            "teacher.model_name": "gpt-x",
            "filters.min_words": 200,
            "generate.seed": "seven",
            "families": ["a", "a"],
        }
    )
    found = problems()
    assert [problem.split(": ")[0] for problem in found] == ["generate.seed", "teacher", "filters", "families"]
    assert "max_usd" in found[1]
    assert "model_name" in found[1]


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
    assert "expected the sections model, loading, prompt" in problems()[0]


def test_an_emptied_section_says_so(workdir: Path) -> None:
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    Path("params.yaml").write_text(yaml.safe_dump(raw | {"lora": None}), encoding="utf-8")
    assert problems() == ["lora: expected a section of keys, not None"]


def test_a_missing_file_is_named(workdir: Path) -> None:
    Path("params.yaml").unlink()
    assert problems() == ["no such file"]


class Needs(View):
    lora: LoraParams


def test_a_view_holds_only_what_was_declared(workdir: Path) -> None:
    view = Needs.load()
    assert view.lora == read_params().lora
    assert set(view.model_dump()) == {"lora"}
    for undeclared in ("train", "generate"):
        with pytest.raises(AttributeError):
            getattr(view, undeclared)


def test_a_view_still_checks_the_sections_that_it_leaves_out(set_params: Callable[..., None]) -> None:
    set_params(**{"train.max_steps": -1})
    with pytest.raises(StageError, match=r"train\.max_steps"):
        Needs.load()


def test_params_are_frozen(workdir: Path) -> None:
    view = Needs.load()
    with pytest.raises(ValidationError):
        view.lora.r = 5  # type: ignore[misc]
    with pytest.raises(ValidationError):
        view.lora = view.lora  # type: ignore[misc]


@pytest.mark.parametrize("old", sorted(MOVED | REMOVED))
def test_a_key_of_an_older_file_is_an_error_that_names_its_new_place(set_params: Callable[..., None], old: str) -> None:
    set_params(**{old: 1})
    (problem,) = problems()
    assert problem.startswith(f"{old}: ")
    assert (f"moved to {MOVED[old]}" if old in MOVED else "delete this key") in problem


def test_every_new_place_of_a_moved_key_exists(workdir: Path) -> None:
    ours = read_params().model_dump()
    for new in MOVED.values():
        section, _, key = new.partition(".")
        assert key in ours[section] if key else section in ours


def test_a_whole_file_of_the_old_shape_is_told_each_key_and_not_each_missing_section(workdir: Path) -> None:
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    for old, new in MOVED.items():
        section, _, name = old.partition(".")
        at, _, key = new.partition(".")
        raw[section][name] = raw[at][key] if key else raw[at]
    for section in ("loading", "prompt", "families", "teacher", "filters", "contamination"):
        del raw[section]
    Path("params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    assert sorted(problems()) == sorted(f"{old}: moved to {new}" for old, new in MOVED.items())


def test_a_key_that_stands_twice_in_a_section_is_an_error(workdir: Path) -> None:
    path = workdir / "params.yaml"
    text = path.read_text(encoding="utf-8").replace("  lora_alpha: 32", "  lora_alpha: 32\n  r: 99")
    path.write_text(text, encoding="utf-8")
    line = text.splitlines().index("  r: 99") + 1
    with pytest.raises(StageError, match=rf"^params\.yaml:{line}: found duplicate key \"r\" .*delete one of the two$"):
        read_params()


def test_a_mistyped_filter_names_the_nearest_one(set_params: Callable[..., None]) -> None:
    set_params(**{"filters.enabled": ["ecko", "markers"]})
    (problem,) = problems()
    assert problem.startswith("filters.enabled: 'ecko' is unknown, nearest is echo; expected ")


def test_every_key_has_a_description() -> None:
    for name, field in Params.model_fields.items():
        section = field.annotation
        fields = section.model_fields if isinstance(section, type) and issubclass(section, BaseModel) else {}
        undescribed = [key for key, value in fields.items() if not value.description]
        assert not undescribed, f"{name}: {undescribed}"


def test_the_profiles_of_the_seed_document_are_there() -> None:
    assert {"llama-2-13b-chat.yaml", "llama-3.1-8b-instruct.yaml"} <= {path.name for path in PROFILES}


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_a_profile_is_a_complete_valid_file_for_a_bigger_model(path: Path) -> None:
    params = read_params(path)
    assert params.model.id != read_params(ROOT / "params.yaml").model.id
    assert params.families == read_params(ROOT / "params.yaml").families
