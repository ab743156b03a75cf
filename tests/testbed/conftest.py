"""What the tests of the testbed share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.mrt_elements import find_archives_in


@pytest.fixture(scope="session", autouse=True)
def archives(networks: Callable[[int], Path]) -> None:
    """The archives of the tests are those of the networks; none is built before a test asks for it."""
    find_archives_in(networks)
