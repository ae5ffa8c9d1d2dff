"""Fixtures shared by all tests."""

from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture
def real_data() -> Path:
    """The folder of real text where it is beside the repo; elsewhere the tests that need it are skipped, saying so."""
    folder = REPO.parent / "shared" / "data"
    if not folder.exists():
        pytest.skip("the real text (../shared/data) is not beside this checkout")
    return folder
