"""A closed question as what the user says, and the texts between which the model chooses."""

from netllama.core.records import LETTERS, Question


def phrase_question(question: Question) -> str:
    """What the user says for a closed question: it is answered by one of the texts of `list_options`."""
    if question.kind == "true_false":
        return f"True or false? {question.question}"
    return question.question


def list_options(question: Question) -> tuple[list[str], int]:
    """The texts between which a closed question chooses, and the position of the right one."""
    if question.kind == "true_false":
        return ["True", "False"], ["true", "false"].index(question.answer)
    return question.options, LETTERS.index(question.answer)
