"""Questions and tasks to hold against each other, and the rule for it from its definition, by Google's rouge-score."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rouge_score.rouge_scorer import RougeScorer

from netllama.contamination.compared_texts import TaskTexts
from netllama.contamination.normalisation import blot_numbers, list_words
from netllama.core.records import Instruction, Question
from netllama.core.sections import ContaminationParams

SCORER = RougeScorer(["rougeL"])
LIMITS = ContaminationParams(similarity_threshold=0.7, ngram=13)


def make_question(
    number: int,
    text: str,
    kind: str = "open",
    answer: str = "",
    options: Sequence[str] = (),
    key_facts: Sequence[str] = (),
) -> Question:
    """Without an answer: one of code, since an open question has one."""
    if kind == "open" and not answer:
        kind = "code"
    return Question(
        id=f"q-{number}",
        family="bgp",
        kind=kind,  # type: ignore[arg-type]
        question=text,
        options=list(options),
        answer=answer,
        aliases=[],
        key_facts=list(key_facts),
        reference="RFC 4271",
        cluster="",
    )


def make_row(instruction: str, input: str = "", output: str = "Nothing to say.", name: str = "r") -> Instruction:
    return Instruction(id=name, family="bgp", source="extra", instruction=instruction, input=input, output=output)


def score(one: str, other: str) -> float:
    """ROUGE-L F1 of two texts, numbers blotted out."""
    return float(SCORER.score(blot_numbers(one), blot_numbers(other))["rougeL"].fmeasure)


def contains(words: list[str], run: list[str]) -> bool:
    return any(words[start : start + len(run)] == run for start in range(len(words) - len(run) + 1))


def is_worded(text: str) -> bool:
    tokens = "".join(c if c.isascii() and c.isalnum() else " " for c in blot_numbers(text)).split()
    return bool(tokens) and sum(token[0] == "0" for token in tokens) <= len(tokens) / 2


@dataclass
class Expected:
    """What a task gives away: ids of questions, in their order."""

    near: float = 0.0
    """The highest score of all."""
    nearest: list[str] = field(default_factory=list)
    """The questions with that score."""
    repeated: list[str] = field(default_factory=list)
    stated: list[str] = field(default_factory=list)


def judge_slowly(
    task: TaskTexts, questions: Sequence[Question], limits: ContaminationParams, strict: bool = False
) -> Expected:
    """Pair by pair and run by run."""
    expected = Expected()
    prompts = [task.instruction]
    if task.input:
        prompts += [f"{task.instruction} {task.input}"] + [task.input] * is_worded(task.input)
    said = list_words(f"{task.instruction} {task.input} {task.output}")
    for question in questions:
        forms = [question.question] + [" ".join([question.question, *question.options])] * bool(question.options)
        near = max(score(form, prompt) for form in forms for prompt in prompts)
        if near > 0 and near >= expected.near - 1e-12:
            expected.nearest = [*(expected.nearest if near <= expected.near + 1e-12 else []), question.id]
            expected.near = max(near, expected.near)
        text = question.question.replace("____", question.answer) if question.kind == "blank" else question.question
        others = [*question.options, *question.key_facts] + [question.answer] * (question.kind == "open")
        if any(repeats(said, passage, limits.ngram, strict) for passage in [text, *filter(is_worded, others)]):
            expected.repeated.append(question.id)
        if question.kind not in ("open", "code") and 5 <= len(list_words(text)) < 8:
            right = "false" if (question.kind, question.answer) == ("true_false", "false") else ""
            if question.kind == "choice":
                right = question.options["ABCD".index(question.answer)]
            if contains(said, list_words(text)) and contains(said, list_words(right)):
                expected.stated.append(question.id)
    if expected.near < limits.similarity_threshold - 1e-9:
        expected.nearest = []
    return expected


def repeats(said: list[str], passage: str, ngram: int, strict: bool) -> bool:
    words = list_words(passage)
    if len(words) < 8:
        return False
    length = min(len(words), ngram, *([8] if strict else []))
    runs = [words[start : start + length] for start in range(len(words) - length + 1)]
    held = sum(contains(said, run) for run in runs)
    return held >= 1 if strict else 2 * held >= len(runs)
