"""A question as what the user says; of a closed one, the texts between which the model chooses."""

from netllama.core.records import LETTERS, Question

FILL_IN = "Fill in the blank. Write only what belongs there, a few words or a number."


def phrase_question(question: Question) -> str:
    """What the user says for a question. A closed one is answered by one of the texts of `list_options`."""
    if question.kind == "true_false":
        return f"True or false? {question.question}"
    if question.kind == "blank":
        return f"{FILL_IN}\n\n{question.question}"
    return question.question


def list_options(question: Question) -> tuple[list[str], int]:
    """The texts between which a closed question chooses, and the position of the right one."""
    if question.kind == "true_false":
        return ["True", "False"], ["true", "false"].index(question.answer)
    return question.options, LETTERS.index(question.answer)
