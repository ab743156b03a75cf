"""`python -m commands.ask`: answers of both models, conversations, what it refuses, and scripts that are run."""

import fcntl
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from commands import ask
from netllama.asking import conversation
from netllama.core.errors import StageError
from netllama.core.files import hash_file, write_json
from netllama.core.params import read_params
from netllama.documents import indexed_corpus
from netllama.models.loading import load_base
from netllama.models.model_reference import locate_model, resolve_model
from netllama.rendering.document_texts import phrase_with_documents
from netllama.rendering.renderer import load_renderer
from netllama.scoring.first_bias import FirstBias
from netllama.scoring.generation import generate_answers
from netllama.training.adapter import add_adapter, save_adapter
from tests.support.clones import ROOT
from tests.support.decisive_model import load_decisive_model
from tests.support.reading_sets import make_balance
from tests.support.tiny_encoder import make_tiny_encoder
from tests.support.training_runs import loading_params, lora_params, training_record

pytestmark = pytest.mark.usefixtures("one_thread")
QUESTION = "What is a MOAS conflict?"


@pytest.fixture
def trained(tiny_base: Path, set_params: Callable[..., None]) -> Path:
    """The workdir as `train` leaves it: a base whose answers differ, and an adapter that changes them."""
    set_params(**{"loading.quantization": "none"})
    load_decisive_model(Path("tiny")).save_pretrained("tiny")
    write_json(ask.BASE, resolve_model("tiny", "").reference.model_dump())
    make_adapter(ask.ADAPTER)
    return tiny_base


def make_adapter(folder: Path, scale: float = 0.5, **record: Any) -> None:
    base = load_base(Path("tiny"), loading_params())
    model, start = add_adapter(base, lora_params(), 1, Path("tiny"))
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_().mul_(scale)
    renderer = load_renderer(ask.TOKENIZER, read_params().prompt)
    made = {"base": locate_model(ask.BASE).reference, "template_hash": renderer.fingerprint} | record
    save_adapter(model, folder, training_record().model_copy(update=made), start)


def generate(earlier: list[tuple[str, str]], question: str, most: int = 12) -> str:
    """The base model's greedy answer as evaluate gets it."""
    renderer = load_renderer(ask.TOKENIZER, read_params().prompt)
    prompt = renderer.encode_prompt(question, earlier=earlier)
    ids = generate_answers(
        load_base(Path("tiny"), loading_params()), [prompt], renderer.tokenizer.eos_token_id, 1, most
    )
    return renderer.decode_answer(ids[0])


def split_answers(output: str) -> dict[str, list[str]]:
    """By model, its answers in the order of the output of one below the other."""
    found: dict[str, list[str]] = {"base model": [], "tuned model": []}
    for name, text in re.findall(
        r"^(base model|tuned model)\n(.*?)\n\[\d+ tokens?, ", output, re.DOTALL | re.MULTILINE
    ):
        found[name].append(text)
    return found


def ask_here(*arguments: str) -> None:
    ask.main(["--max-new-tokens", "12", *arguments])


def type_in(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_both_models_answer_one_below_the_other_where_stdout_is_no_terminal(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask_here(QUESTION)
    output = capsys.readouterr().out
    answers = split_answers(output)
    assert answers["base model"] == [conversation.clean_text(generate([], QUESTION))]
    assert answers["tuned model"] != answers["base model"]
    assert len(answers["tuned model"]) == 1
    # The logits of a random model lie close together: which of them ends an answer may depend on the processor.
    assert len(re.findall(r"\[\d+ tokens?, \d+\.\d a second(?:, cut at the limit)?\]", output)) == 2
    assert "\x1b" not in output


def test_one_model_alone_gives_what_it_gives_beside_the_other(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask_here(QUESTION)
    both = split_answers(capsys.readouterr().out)
    for name in ("base", "tuned"):
        ask_here("--model", name, QUESTION)
        alone = split_answers(capsys.readouterr().out)
        assert {key: texts for key, texts in alone.items() if texts} == {f"{name} model": both[f"{name} model"]}


def test_a_conversation_carries_each_models_own_answers_until_it_is_reset(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = ["/24 prefixes: how many in a /20?", "What is a MOAS conflict?"]
    type_in(monkeypatch, questions[0], "", questions[1], "/forget", "/reset", questions[1], "/quit", "never asked")
    ask_here("--model", "base")
    output = capsys.readouterr().out
    first = generate([], questions[0])
    expected = [first, generate([(questions[0], first)], questions[1]), generate([], questions[1])]
    assert split_answers(output)["base model"] == [conversation.clean_text(text) for text in expected]
    assert expected[1] != expected[2], "what was said before changes this answer"
    assert "/forget is not known; there are /reset and /quit" in output
    assert output.endswith("end of the conversation\n")


def test_a_question_that_is_too_long_ends_no_conversation(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    type_in(monkeypatch, "peer " * 1100, QUESTION)
    ask_here("--model", "base")
    captured = capsys.readouterr()
    assert captured.err.count("error: the question comes to ") == 1
    assert split_answers(captured.out)["base model"] == [conversation.clean_text(generate([], QUESTION))]


def test_another_adapter_answers_otherwise(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask_here("--model", "tuned", QUESTION)
    first = split_answers(capsys.readouterr().out)
    make_adapter(Path("other"), scale=0.05)
    ask_here("--model", "tuned", "--adapter", "other", QUESTION)
    assert split_answers(capsys.readouterr().out) != first


def test_a_temperature_samples(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask_here("--model", "base", "--temperature", "5", QUESTION)
    assert split_answers(capsys.readouterr().out)["base model"] != [conversation.clean_text(generate([], QUESTION))]


def refuse(*arguments: str) -> str:
    with pytest.raises(StageError) as raised:
        ask_here(*arguments, QUESTION)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_is_not_made_yet_is_named_with_the_command_that_makes_it(trained: Path) -> None:
    assert refuse("--adapter", "mine") == "mine is missing: --adapter names a folder that train wrote"
    shutil.rmtree(ask.ADAPTER)
    assert refuse() == "models/adapter is missing: run `dvc repro train`"
    ask.BASE.unlink()
    assert refuse() == "models/base.json is missing: run `dvc repro fetch`"


def test_the_base_answers_before_anything_is_trained(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(ask.ADAPTER)
    ask_here("--model", "base", QUESTION)
    assert len(split_answers(capsys.readouterr().out)["base model"]) == 1


def test_another_template_than_in_training_is_refused_and_so_is_another_base(
    trained: Path, set_params: Callable[..., None]
) -> None:
    set_params(**{"prompt.template": "alpaca"})
    assert refuse().startswith("models/adapter: made with another prompt.template")
    set_params(**{"prompt.template": "chat", "prompt.system_prompt": "Be brief."})
    assert "prompt.system_prompt" in refuse()
    set_params(**{"prompt.system_prompt": ""})
    other = locate_model(ask.BASE).reference.model_copy(update={"id": "other", "files": {"config.json": "0"}})
    make_adapter(Path("foreign"), base=other)
    assert refuse("--adapter", "foreign").startswith("foreign: trained on other, not on the model of models/base.json")


@pytest.mark.parametrize(
    "arguments",
    [[""], [" "], ["--temperature", "nan"], ["--temperature", "-1"], ["--max-new-tokens", "0"], ["--k", "2", "Why?"]],
)
def test_a_wrong_argument_is_a_usage_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        ask.main(arguments)
    assert raised.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_an_interrupted_answer_ends_in_one_line(
    trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("netllama.asking.answer_stream.AnswerStream.step", interrupt)
    with pytest.raises(SystemExit) as raised:
        ask_here(QUESTION)
    assert raised.value.code == 130
    assert capsys.readouterr().out.endswith("\nstopped\n")


# --- documents

ASKED = "When does the hold timer expire?"
TIMERS = "# Timers\n\n## Hold timer\n\nThe hold timer expires after 90 s.\n\n## Other\n\nKeepalive: 30 s.\n"


@pytest.fixture
def notes(trained: Path) -> Path:
    """Two documents of the user's, outside of data/corpus/."""
    (trained / "notes").mkdir()
    (trained / "notes" / "timers.md").write_text(TIMERS)
    (trained / "notes" / "ports.txt").write_text("Ports\n\nBGP listens on 179.\n")
    return trained


def list_shown(output: str) -> list[str]:
    """The ids of the documents below the answers, in their order."""
    return re.findall(r"(?m)^\[\d+\] (\S+)", output.partition("documents shown")[2])


def test_with_documents_both_models_are_asked_in_the_form_of_the_training(
    notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask_here("--docs", "notes", "--k", "1", ASKED)
    captured = capsys.readouterr()
    documents = ["Timers > Hold timer\nThe hold timer expires after 90 s."]
    expected = generate([], phrase_with_documents(ASKED, documents))
    answers = split_answers(captured.out)
    assert answers["base model"] == [conversation.clean_text(expected)]
    assert answers["base model"] != [conversation.clean_text(generate([], ASKED))]
    assert answers["tuned model"] != answers["base model"]
    assert "documents shown to the models, best first:\n[1] notes/timers.md#hold-timer" in captured.out
    assert "\n    Timers > Hold timer\n    The hold timer expires after 90 s.\nbase model: " in captured.out
    assert "documents: 2, in 3 chunks\n" in captured.err


def test_the_tuned_model_refuses_as_evaluate_found_where_documents_are_shown_and_the_adapter_is_the_same(
    notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    class Watched(conversation.AnswerStream):
        def __init__(self, speaker: Any, prompt: Any, most: int, temperature: float, bias: Any) -> None:
            given[speaker.name] = bias
            super().__init__(speaker, prompt, most, temperature, bias)

    monkeypatch.setattr(conversation, "AnswerStream", Watched)
    balance = make_balance(hash_file(notes / "models" / "adapter" / "adapter_model.safetensors"))
    write_json(ask.REFUSALS, balance.model_dump())
    question = "When does the hold timer of the peer expire?"
    ask_here("--docs", "notes", "--k", "1", question)
    # Of hold, timer, peer and expire the document lacks one.
    assert given == {"base model": None, "tuned model": FirstBias(7, 1.25 + 4.0 / 4)}
    ask_here(question)
    assert given == {"base model": None, "tuned model": None}
    write_json(ask.REFUSALS, make_balance("another adapter").model_dump())
    ask_here("--docs", "notes", "--k", "1", question)
    assert given == {"base model": None, "tuned model": None}


def test_k_says_how_many_documents_are_shown_at_most(
    notes: Path, capsys: pytest.CaptureFixture[str], set_params: Callable[..., None]
) -> None:
    set_params(**{"retrieve.top_k": 2})
    question = "Hold timer, keepalive, BGP?"
    for arguments, shown in ([], 2), (["--k", "1"], 1), (["--k", "9"], 3):
        ask_here("--model", "base", "--docs", "notes", *arguments, question)
        output = capsys.readouterr().out
        assert len(list_shown(output)) == shown
        assert "documents shown, best first:" in output


def test_without_a_folder_the_corpus_of_the_params_is_asked_beside_folders_that_are_named(
    notes: Path, capsys: pytest.CaptureFixture[str], set_params: Callable[..., None]
) -> None:
    (notes / "data" / "corpus" / "mine").mkdir()
    (notes / "data" / "corpus" / "mine" / "hold.md").write_text("# Mine\n\nOur hold timer is 15 s.\n")
    set_params(**{"retrieve.corpus": ["mine"]})
    ask_here("--model", "base", ASKED, "--docs")
    assert list_shown(capsys.readouterr().out) == ["mine/hold.md"]
    ask_here("--model", "base", ASKED, "--docs", "--docs", "notes", "--k", "2")
    assert sorted(list_shown(capsys.readouterr().out)) == ["mine/hold.md", "notes/timers.md#hold-timer"]


def test_a_question_that_no_document_has_a_word_of_is_asked_without_any_and_that_is_said_first(
    notes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask_here("--model", "base", "--docs", "notes", "Xyzzy?")
    output = capsys.readouterr().out
    assert output.startswith("no document holds a word of the question: what follows rests on no document\n")
    assert split_answers(output)["base model"] == [conversation.clean_text(generate([], "Xyzzy?"))]
    assert "documents shown" not in output


def test_with_retrieve_dense_documents_are_found_by_meaning_too(
    notes: Path, capsys: pytest.CaptureFixture[str], set_params: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexed_corpus, "ensure_encoder", lambda cache: make_tiny_encoder(notes / "encoder"))
    set_params(**{"retrieve.dense": "minilm"})
    ask_here("--model", "base", "--docs", "notes", "Xyzzy?")
    assert len(list_shown(capsys.readouterr().out)) == 3


def test_in_a_conversation_each_question_is_looked_up_and_earlier_turns_have_no_documents(
    notes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = [ASKED, "On which port does BGP listen?"]
    type_in(monkeypatch, *questions)
    ask_here("--model", "base", "--docs", "notes", "--k", "1")
    output = capsys.readouterr().out
    first = generate([], phrase_with_documents(ASKED, ["Timers > Hold timer\nThe hold timer expires after 90 s."]))
    asked = phrase_with_documents(questions[1], ["Ports\nBGP listens on 179."])
    expected = [first, generate([(ASKED, first)], asked)]
    assert split_answers(output)["base model"] == [conversation.clean_text(text) for text in expected]
    assert list_shown(output) == ["notes/timers.md#hold-timer", "notes/ports.txt"]


def test_a_document_does_not_steer_the_terminal(notes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (notes / "notes" / "evil.md").write_text("# Evil \x1b[2J\n\nXyzzy \x1b]0;title\x07.\n")
    ask_here("--model", "base", "--docs", "notes", "xyzzy")
    output = capsys.readouterr().out
    assert "\\x1b]0;title\\x07" in output
    assert "\x1b" not in output


def test_wrong_documents_end_in_one_line_and_what_could_not_be_read_is_told(
    notes: Path, capsys: pytest.CaptureFixture[str], set_params: Callable[..., None]
) -> None:
    assert refuse("--docs", "nowhere") == "nowhere: no such folder (a question stands in front of a bare --docs)"
    assert refuse("--docs", "notes/ports.txt").startswith("notes/ports.txt: not a folder")
    assert refuse("--docs", "notes", "--docs", "./notes").endswith("rename one")
    set_params(**{"retrieve.corpus": ["mine"]})
    assert refuse("--docs", "--model", "base").startswith("retrieve.corpus: mine: no such folder in data/corpus/; ")
    set_params(**{"retrieve.corpus": []})
    assert refuse("--docs", "--model", "base") == "retrieve.corpus names no folder; name one of yours: --docs FOLDER"
    capsys.readouterr()
    (notes / "notes" / "empty.md").touch()
    ask_here("--model", "base", "--docs", "notes", ASKED)
    told = capsys.readouterr().err
    assert re.search(r"documents: 2, in 3 chunks; 1 files could not be read: \.scratch/index/\w+/dropped\.jsonl", told)


def test_documents_that_leave_no_room_for_an_answer_are_too_many(notes: Path) -> None:
    sections = "".join(f"## Timer {number}\n\n{'The hold timer. ' * 12}\n\n" for number in range(20))
    (notes / "notes" / "long.md").write_text(f"# Long\n\n{sections}")
    told = r"the question with 20 documents comes to [\d,]+ tokens and base model reads 1,024; --k shows fewer"
    with pytest.raises(StageError, match=told):
        ask_here("--docs", "notes", "--k", "20", ASKED)


# --- scripts

COUNTS = """```python
import pybgpstream
stream = pybgpstream.BGPStream(
    from_time="2021-03-01 08:00:00", until_time="2021-03-01 08:01:00", collectors=["rrc00"], record_type="ribs"
)
elems = sum(1 for elem in stream)
print("elements", elems > 0, "\\x1b[2J")
open("counts.txt", "w").write(str(elems))
```"""


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            COUNTS,
            [
                "touched data (rung 5 of 5); whether",
                "exit 0 after",
                "counts.txt",
                "elements True \\x1b[2J",
                "streams: 1",
            ],
        ),
        ("```python\nimport bgpkit_py\n```", ["reached: parses (rung 2 of 5); missing import: ", "bgpkit_py"]),
        (
            "```python\nprint(1 / 0)\n```",
            ["imports exist (rung 3 of 5); runtime error: ", "ZeroDivisionError", "exit 1"],
        ),
        ("```python\nprint('done')\n```", ["runs (rung 4 of 5); no data touched: ", "printed:\n  done"]),
        ("```python\nwhile True:\n    pass\n```", ["timeout: time is up"]),
        ("BGP is a protocol.", ["reached: nothing (rung 0 of 5); no code: the answer holds no code"]),
        ("```python\nfor x in\n```", ["reached: extracted (rung 1 of 5); does not parse: line 1"]),
    ],
)
def test_what_came_of_a_script_is_told(
    answer: str, said: list[str], sandbox: Any, network: Path, tmp_path: Path
) -> None:
    from netllama.asking.script_trial import try_script
    from netllama.sandbox.exchange import Limits

    seconds = 1.0 if "while True" in answer else 20.0
    limits = Limits(cpu_seconds=seconds, wall_seconds=5 * seconds)
    found = try_script(answer, sandbox, network, limits, tmp_path / "ask")
    for part in said:
        assert part in found
    assert "\x1b" not in found
    if answer is COUNTS:
        (written,) = (tmp_path / "ask").glob("answer-*/cwd/counts.txt")
        assert int(written.read_text()) > 0


def test_with_run_the_script_of_each_answer_is_run(
    trained: Path, network: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tiny model writes no script, so its answers are replaced where they are run, and nowhere else."""
    scripts = iter(["```python\nprint('of the base')\n```", "no code"])
    tried = conversation.try_script
    monkeypatch.setattr(conversation, "ensure_network", lambda cache, seed: network)
    monkeypatch.setattr(conversation, "try_script", lambda answer, *rest: tried(next(scripts), *rest))
    ask_here("--run", QUESTION)
    captured = capsys.readouterr()
    assert "base model: its script reached: runs" in captured.out
    assert "tuned model: its script reached: nothing" in captured.out
    assert "  of the base" in captured.out
    assert "scripts in answers: " in captured.err


# --- a terminal


def own_terminal() -> None:
    """The new process's stdin becomes its controlling terminal: Ctrl-C on it interrupts the process."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    # Below a shell's background job it is ignored, which a new process inherits.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """The command on a terminal of its own, `columns` wide."""

    def __init__(self, folder: Path, columns: int, *arguments: str) -> None:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": str(columns), "LINES": "24", "TERM": "xterm"}
        command = [sys.executable, "-m", "commands.ask", "--max-new-tokens", "12", *arguments]
        ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, preexec_fn=own_terminal
        )
        os.close(theirs)
        self._ours = ours
        self.shown = ""

    def wait_for(self, text: str, times: int = 1) -> None:
        end = time.monotonic() + 120
        while self.shown.count(text) < times:
            assert time.monotonic() < end, self.shown
            if select.select([self._ours], [], [], 1)[0]:
                try:
                    self.shown += os.read(self._ours, 65536).decode(errors="replace").replace("\r\n", "\n")
                except OSError:  # the other end is closed
                    assert text in self.shown, self.shown
                    return

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def leave(self) -> int:
        """The exit code; what was shown is read to the end."""
        end = time.monotonic() + 60
        while self.process.poll() is None or select.select([self._ours], [], [], 0)[0]:
            assert time.monotonic() < end, self.shown
            if select.select([self._ours], [], [], 0.2)[0]:
                try:
                    self.shown += os.read(self._ours, 65536).decode(errors="replace").replace("\r\n", "\n")
                except OSError:
                    break
        os.close(self._ours)
        return self.process.wait(30)


def test_a_wide_terminal_shows_columns_and_ctrl_c_leaves_in_one_line(trained: Path) -> None:
    terminal = Terminal(trained, 100)
    terminal.wait_for("> ")
    terminal.type(f"{QUESTION}\n")
    terminal.wait_for(" a second", 2)  # an answer may hold a prompt's "> "
    terminal.wait_for("> ", terminal.shown.rpartition(" a second")[0].count("> ") + 1)
    # A signal between CPython's last look for one and readline's wait for a key is seen at the next key only.
    time.sleep(1)
    terminal.type("\x03")
    assert terminal.leave() == 130
    assert re.search(r"(?m)^base model +│ tuned model$", terminal.shown)
    assert re.search(r"(?m)^\[\d+ tokens?, [\d.]+ a second[^\]]*\] +│ \[\d+ tokens?, ", terminal.shown)
    assert terminal.shown.endswith("\nstopped\n")
    assert "Traceback" not in terminal.shown


def test_asking_changes_no_file(trained: Path) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    ask_here("--model", "base", QUESTION)
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before
    assert json.loads((trained / "models" / "base.json").read_text())["id"] == "tiny"
