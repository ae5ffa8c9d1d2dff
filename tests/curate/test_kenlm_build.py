"""Building lmplz: where it cannot be done, the user learns what to install."""

from pathlib import Path

import pytest

from curate import kenlm_build


def test_without_a_package_manager_the_error_names_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no compiler, no apt-get
    with pytest.raises(ValueError, match="libboost-program-options-dev"):
        kenlm_build._boost(tmp_path / "boost")


def test_source_that_does_not_configure_is_reported_not_raised(tmp_path: Path) -> None:
    (tmp_path / "CMakeLists.txt").write_text("message(FATAL_ERROR none)")
    assert not kenlm_build._compile(tmp_path, tmp_path / "build", tmp_path / "log", {})
    assert "none" in (tmp_path / "log").read_text()


def test_without_cmake_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(kenlm_build, "BIN", tmp_path)
    with pytest.raises(ValueError, match="pip install cmake"):
        kenlm_build._compile(tmp_path, tmp_path / "build", tmp_path / "log", {})
