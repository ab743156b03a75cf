"""A question as what the user says; of a closed one, the texts between which the model chooses."""

from netllama.core.records import LETTERS, Question

VERBALISERS = (("True or false?", ("True", "False")), ("Yes or no: is this right?", ("Yes", "No")))
"""How a statement is asked about, and the words for true and for false; the first is the one of `phrase_question`."""
PICK = "Answer with the letter of the right option."
FILL_IN = "Fill in the blank. Write only what belongs there, a few words or a number."


def phrase_question(question: Question) -> str:
    """What the user says for a question. A closed one is answered by one of the texts of `list_options`."""
    if question.kind == "true_false":
        return f"{VERBALISERS[0][0]} {question.question}"
    if question.kind == "blank":
        return f"{FILL_IN}\n\n{question.question}"
    return question.question


def list_options(question: Question) -> tuple[list[str], int]:
    """The texts between which a closed question chooses, and the position of the right one."""
    if question.kind == "true_false":
        return list(VERBALISERS[0][1]), ["true", "false"].index(question.answer)
    return question.options, LETTERS.index(question.answer)


def phrase_listed(question: Question, shift: int) -> str:
    """The question with its options in a list, rotated so that the one at `shift` stands first."""
    rotated = [*question.options[shift:], *question.options[:shift]]
    listed = "\n".join(f"{letter}) {option}" for letter, option in zip(LETTERS, rotated, strict=False))
    return f"{question.question}\n\n{listed}\n\n{PICK}"
