"""What the licence of the base model asks of a model that is made from it: names, notices, files."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from netllama.core.errors import StageError

_META = "Meta Platforms, Inc. All Rights Reserved."


@dataclass(frozen=True)
class LicenceTerms:
    id: str
    """As the Hub lists licences."""
    name: str
    notice: str = ""
    """The sentence that a NOTICE file must hold; empty: none is asked for."""
    display: str = ""
    """What the page must show."""
    name_start: str = ""
    """What the name of a model that was made from it begins with."""
    page: str = ""


LLAMA_2 = LicenceTerms(
    id="llama2",
    name="Llama 2 Community License",
    notice=f"Llama 2 is licensed under the LLAMA 2 Community License, Copyright (c) {_META}",
    page="https://ai.meta.com/llama/license/",
)
LLAMA_3 = LicenceTerms(
    id="llama3",
    name="Meta Llama 3 Community License",
    notice=f"Meta Llama 3 is licensed under the Meta Llama 3 Community License, Copyright © {_META}",
    display="Built with Meta Llama 3",
    name_start="Llama 3",
    page="https://www.llama.com/llama3/license/",
)
APACHE = LicenceTerms(id="apache-2.0", name="Apache License 2.0")


def _later_llama(version: str) -> LicenceTerms:
    return LicenceTerms(
        id=f"llama{version}",
        name=f"Llama {version} Community License",
        notice=f"Llama {version} is licensed under the Llama {version} Community License, Copyright © {_META}",
        display="Built with Llama",
        name_start="Llama",
        page=f"https://www.llama.com/llama{version.replace('.', '_')}/license/",
    )


_BILLIONS = "b(?![a-z])"
"""After a number that is the size of a model, not its version: a Llama of 3b is another one than a Llama 3."""
_KNOWN: list[tuple[str, LicenceTerms]] = [
    *((rf"llama[-_ ]?3[._]{minor}(?!\d|{_BILLIONS})", _later_llama(f"3.{minor}")) for minor in (1, 2, 3)),
    (rf"llama[-_ ]?3(?![.\d]|{_BILLIONS})", LLAMA_3),
    (rf"codellama|llama[-_ ]?2(?![.\d]|(_7)?{_BILLIONS})", LLAMA_2),  # LLaMA-2.7B is a Sheared LLaMA
    (r"^smollm", APACHE),
]
"""By the form of a model's name, whoever serves the copy."""


def find_terms(model_name: str) -> LicenceTerms | None:
    """The terms of a known model, by its name without owner; None: not known here."""
    return next((terms for form, terms in _KNOWN if re.search(form, model_name, re.IGNORECASE)), None)


def require_terms(model_id: str, said: str | None) -> LicenceTerms:
    """The terms of the base model; those that the user said where its name does not tell them."""
    found = find_terms(model_id.rpartition("/")[2])
    if found is None and said is None:
        raise StageError(
            f"the licence of {model_id} is not known here; read it on https://huggingface.co/{model_id} and say "
            "--licence, in the form of that page (apache-2.0, mit, ...)"
        )
    if found and said not in (None, found.id):
        raise StageError(f"--licence {said}: {model_id} is under {found.id}, and so is what is made from it")
    by_id = {terms.id: terms for _, terms in _KNOWN}
    return found or by_id.get(str(said)) or LicenceTerms(id=str(said), name=str(said))


def require_name(repo_id: str, made_from: Sequence[str]) -> None:
    """StageError where the name of the repository lacks what the licence of a model in `made_from` asks for.

    The licences of Llama 3 and later ask for it where their outputs were trained on, too: `made_from` names the base
    and the teacher.
    """
    owner, _, name = repo_id.partition("/")
    for model in made_from:
        terms = find_terms(model.rpartition("/")[2])
        start = terms.name_start if terms else ""
        if not _squeeze(name).startswith(_squeeze(start)):
            raise StageError(
                f"--repo-id {repo_id}: the licence of {model} asks that the name begins with {start}; "
                f"take {owner}/{start.replace(' ', '-')}-{name}"
            )


def _squeeze(name: str) -> str:
    return re.sub(r"[\s._-]", "", name).lower()


def find_licence_files(terms: LicenceTerms, base_folder: Path, said: Sequence[Path]) -> list[Path]:
    """The texts that go with the model: those said, or those in the base's folder. StageError where one must be."""
    for path in said:
        if not path.is_file():
            raise StageError(f"--licence-file {path}: no such file")
    found = list(said) or sorted([*base_folder.glob("LICENSE*"), *base_folder.glob("USE_POLICY*")])
    if terms.notice and not found:
        raise StageError(
            f"the {terms.name} must go with the model, and {base_folder.name} has no copy of it; download LICENSE* "
            "and USE_POLICY.md from the base model's page and say --licence-file for each"
        )
    return found
