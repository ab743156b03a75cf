"""Questions to one or two models, and their answers on the screen as they are written.

On a terminal that is wide enough two answers stand in columns, and the models write in turn; else one is below the
other.
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from netllama.asking.answer_stream import AnswerStream, Speaker, describe_answer, require_text
from netllama.asking.columns import LiveColumns, choose_column_width, clean_text, join_columns
from netllama.asking.document_search import NOTHING_FOUND, DocumentSearch, describe_sources, list_texts
from netllama.asking.script_trial import try_script
from netllama.core.files import ensure_scratch_folder
from netllama.rendering.chat_template import Turn
from netllama.sandbox.exchange import Limits
from netllama.sandbox.sandbox import Sandbox
from testbed.network import ensure_network


@dataclass
class Conversation:
    """Who answers, how, and what was said so far: each model has its own answers in front of it."""

    speakers: Sequence[Speaker]
    max_new_tokens: int
    temperature: float
    sandbox: Sandbox | None
    """What scripts in answers run in; None: they are not run."""
    limits: Limits
    search: DocumentSearch | None = None
    """What each question is asked of; None: of no documents. What was said earlier is repeated without its documents:
    they were found for another question, and a small model has no room for them."""
    turns: list[list[Turn]] = field(default_factory=list)
    """Of each speaker."""

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.turns = [[] for _ in self.speakers]

    def answer(self, question: str) -> None:
        """Let each model answer, and print it; StageError where one of them has no room for the question."""
        require_text(question)
        chunks = self.search.find_chunks(question) if self.search else []
        documents = list_texts(chunks)
        prompts = [
            speaker.encode_question(question, said, documents)
            for speaker, said in zip(self.speakers, self.turns, strict=True)
        ]
        if self.search and not chunks:
            print(f"{NOTHING_FOUND}\n", flush=True)
        answers = [
            AnswerStream(
                speaker, prompt, self.max_new_tokens, self.temperature, speaker.weigh_refusal(question, documents)
            )
            for speaker, prompt in zip(self.speakers, prompts, strict=True)
        ]
        terminal = shutil.get_terminal_size()
        width = choose_column_width(terminal.columns) if len(answers) == 2 and sys.stdout.isatty() else 0
        if width:
            show_side_by_side(answers, width, terminal.lines)
        else:
            show_one_by_one(answers)
        for said, answer in zip(self.turns, answers, strict=True):
            said.append((question, answer.text))
        if chunks:
            texts = {answer.speaker.name: answer.text for answer in answers}
            print("\n" + "\n".join(describe_sources(chunks, texts)), flush=True)
        if self.sandbox:
            self._run_scripts(answers, self.sandbox)

    def _run_scripts(self, answers: Sequence[AnswerStream], sandbox: Sandbox) -> None:
        network, cache = ensure_network(ensure_scratch_folder("network"), 1), ensure_scratch_folder("ask")
        for answer in answers:
            found = try_script(answer.text, sandbox, network, self.limits, cache)
            print(f"\n{answer.speaker.name}: {found}", flush=True)


def show_side_by_side(answers: Sequence[AnswerStream], width: int, lines: int) -> None:
    """Two answers in columns of a terminal; the models write in turn, a token each."""
    base, tuned = answers
    print(join_columns(base.speaker.name, tuned.speaker.name, width))
    columns = LiveColumns(sys.stdout, width, lines)
    while not (base.is_done and tuned.is_done):
        for answer in answers:
            if not answer.is_done:
                answer.step()
        columns.show([base.text, tuned.text], [base.is_done, tuned.is_done])
    print(join_columns(f"[{describe_answer(base)}]", f"[{describe_answer(tuned)}]", width), flush=True)


def show_one_by_one(answers: Sequence[AnswerStream]) -> None:
    """One answer below the other, each as it is written."""
    for place, answer in enumerate(answers):
        print(f"{'' if place == 0 else chr(10)}{answer.speaker.name}", flush=True)
        printed = 0
        while not answer.is_done:
            answer.step()
            text = answer.text
            print(clean_text(text[printed:]), end="", flush=True)
            printed = len(text)
        print(f"\n[{describe_answer(answer)}]", flush=True)
