"""By which id of the Hub a stranger finds the base model."""

import pytest

from netllama.core.errors import StageError
from netllama.models.model_reference import ModelReference
from netllama.publishing.base_identity import HubBase, identify_base, is_hub_id


def reference(id: str, revision: str) -> ModelReference:
    return ModelReference(id=id, revision=revision, files={})


def test_the_wheel_is_known_on_the_hub_and_its_version_is_no_revision_there() -> None:
    found = identify_base(reference("smollm2-135m-instruct", "0.1.2"), None)
    assert found == HubBase("HuggingFaceTB/SmolLM2-135M-Instruct", "", is_bundled=True)
    assert found.name == "SmolLM2-135M-Instruct"


def test_a_model_of_the_hub_keeps_its_commit() -> None:
    assert identify_base(reference("org/name", "a" * 40), None) == HubBase("org/name", "a" * 40)
    assert identify_base(reference("org/name", "a" * 40), "org/name") == HubBase("org/name", "a" * 40)


def test_a_local_folder_has_the_id_that_is_said() -> None:
    assert identify_base(reference("/data/models/llama", ""), "org/name") == HubBase("org/name", "")
    with pytest.raises(StageError, match="say --base-model org/name") as caught:
        identify_base(reference("/data/models/llama", ""), None)
    assert "/data" not in str(caught.value)


@pytest.mark.parametrize(("id", "revision"), [("org/name", "a" * 40), ("smollm2-135m-instruct", "0.1.2")])
def test_another_base_than_the_adapter_has_can_not_be_said(id: str, revision: str) -> None:
    with pytest.raises(StageError, match="--base-model org/other: the adapter was trained on"):
        identify_base(reference(id, revision), "org/other")


@pytest.mark.parametrize(
    "said",
    ["name", "./models/llama", "/data/llama", "a/b/c", "~/llama", "org/", "org/..", "", "org/a--b", "org/a.git", "ü/a"],
)
def test_a_path_is_no_id(said: str) -> None:
    assert not is_hub_id(said)
    with pytest.raises(StageError, match="not a Hub id"):
        identify_base(reference("llama", ""), said)


@pytest.mark.parametrize("id", ["you/net-llama", "meta-llama/Llama-2-13b-chat-hf", "a/b", "you/net_llama.v2"])
def test_an_id_is_owner_and_name(id: str) -> None:
    assert is_hub_id(id)
