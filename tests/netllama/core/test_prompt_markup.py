"""Markup of prompts is found where it is, and headings and code are left alone."""

import pytest

from netllama.core.prompt_markup import drop_placeholder, find_prompt_markup, strip_sequence_marks


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("y\n### Response: z", "### Response:"),
        ("y\n# # ######## \n Response :", "######## \n Response :"),
        ("y\n### ### Human:", "### Human:"),
        ("y\n20. Instruction: z", "20. Instruction:"),
        ("y 3 . output : z", "3 . output :"),
        ("<|im_start|>user", "<|im_start|>"),
        ("[INST] x [/INST]", "[INST]"),
        ("or <NoInput>", "<NoInput>"),
        ("one </s> two", "</s>"),
        ("one<eos>", "<eos>"),
        ("a <s> b", "<s>"),
        ("<BOS>one", "<BOS>"),
        ("one [EOS]\n", "[EOS]"),
        ("One.[EOS]\nTwo", "[EOS]"),
        ("\n[BOS] one", "[BOS]"),
        ("one<｜end▁of▁sentence｜> two", "<｜end▁of▁sentence｜>"),
        ("<｜begin▁of▁sentence｜>one", "<｜begin▁of▁sentence｜>"),
        ("one <｜User｜> two", "<｜User｜>"),
        ("Below is an instruction that describes a task, paired", "Below is an instruction that describes a task"),
    ],
)
def test_markup_is_found(text: str, found: str) -> None:
    assert find_prompt_markup(text) == found


@pytest.mark.parametrize(
    "text",
    [
        *("### Input:\n5", "## 2. Output", "List[INSTANCE]", "a <s>b</s> c", "Map<s>", "Output: 7. Step"),
        *("ids[EOS] = 1", "ids + [EOS]", "[BOS] + ids", "[EOS] switches", "the [EOS] prompt", "[eos]", "[BOS, EOS]"),
    ],
)
def test_headings_and_code_are_not_markup(text: str) -> None:
    assert find_prompt_markup(text) is None


@pytest.mark.parametrize("text", ["<noinput>", " <NoInput>\r\n", "Noinput", ""])
def test_an_input_that_says_that_there_is_none_is_empty(text: str) -> None:
    assert drop_placeholder(text) == ""


@pytest.mark.parametrize("text", ["no input", "<noinput> but 5", " 5 "])
def test_any_other_input_stays_as_it_is(text: str) -> None:
    assert drop_placeholder(text) == text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<s>one</s>", "one"),
        (" <bos> one\n<eos>\n", "one"),
        ("one</s></s>", "one"),
        ("<|begin_of_text|>one<|end_of_text|>", "one"),
        ("<｜begin▁of▁sentence｜>one<｜end▁of▁sentence｜>", "one"),
        ("[BOS] one [EOS]\n", "one"),
        ("[BOS][BOS]one.[EOS][EOS]", "one."),
        ("one [EOS]</s>", "one"),
        ("return ids + [EOS]", "return ids + [EOS]"),
        ("port 179[EOS]", "port 179"),
        ("ids[EOS] = 1", "ids[EOS] = 1"),
        ("[EOS] switches", "[EOS] switches"),
        ("one<｜end▁of▁sentence｜> two", "one<｜end▁of▁sentence｜> two"),
        ("one <s>two</s>", "one <s>two</s>"),
        ("<s>one</s> two", "<s>one</s> two"),
        ("one </s> two", "one </s> two"),
        (" one \n", " one \n"),
    ],
)
def test_marks_of_a_sequence_are_taken_off_around_a_text_only(text: str, left: str) -> None:
    assert strip_sequence_marks(text) == left
