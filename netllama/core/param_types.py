"""The types of params' values: numbers with bounds, money, counts or shares, lists that stay frozen."""

from decimal import Decimal, InvalidOperation
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

BUNDLED_MODEL = "smollm2-135m-instruct"


def _read_number(value: object) -> object:
    """A number that was written in quotes, as `dvc exp run -S` writes some, is taken as the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def is_plain_value(text: str) -> bool:
    """Whether the text would be a number or a truth value, if it were not in quotes."""
    return text.strip().lower() in ("true", "false") or not isinstance(_read_number(text), str)


def _read_size(given: object) -> int | float:
    value = _read_number(given)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, float) and 0 <= value < 1:
        return value
    advice = ": write it without quotes" if isinstance(given, str) and is_plain_value(given) else ""
    raise ValueError(f"expected a count (1300) or a share below 1 (0.1), not {given!r}{advice}")


def _read_decimal(value: object) -> object:
    """Money stays what was written: 0.15 is 0.15, not the nearest binary fraction."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return Decimal(str(value))
        except InvalidOperation:
            return value
    return value


START = r"^(default|gaussian|pissa|pissa_niter_[1-9][0-9]*|loftq)$"
_NAME = r"^[A-Za-z0-9_-]+$"
IN_WORDS = {
    START: "default, gaussian, pissa, pissa_niter_N (N: 1, 2, 3, ...) or loftq",
    _NAME: "a name of letters (A to Z, a to z), digits, _ and -",
}
"""What a value has to be, where a regular expression checks it."""


def freeze_list(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


NUMBER = BeforeValidator(_read_number)
Share = Annotated[float, Field(ge=0, lt=1), NUMBER]
Threshold = Annotated[float, Field(gt=0, le=1), NUMBER]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False), NUMBER]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), NUMBER]
PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""Of random numbers: what all generators take, NumPy's included."""
Size = Annotated[int | float, BeforeValidator(_read_size)]
Usd = Annotated[Decimal, Field(ge=0, allow_inf_nan=False), BeforeValidator(_read_decimal)]
Strings = Annotated[tuple[str, ...], BeforeValidator(freeze_list)]
Names = Annotated[tuple[str, ...], Field(min_length=1), BeforeValidator(freeze_list)]
Families = Annotated[
    tuple[Annotated[str, Field(pattern=_NAME)], ...], Field(min_length=1), BeforeValidator(freeze_list)
]
"""Names of task families: each is data/prompts/NAME.txt and data/seeds/NAME.jsonl."""


class Section(BaseModel):
    """The base of a section of params.yaml: every key is required, no other one is allowed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, protected_namespaces=(), use_attribute_docstrings=True
    )


def raise_all(problems: list[str]) -> None:
    """Raise all problems of a section as one ValueError; nothing if there are none."""
    if problems:
        raise ValueError("; ".join(problems))
