"""The worked example of CONTRIBUTING.md, as it stands there."""

import importlib.util
import re
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from curate.stage import STAGES
from tests.curate.corpus import corpus, curate, ledger, write_lines

GUIDE = Path(__file__).parents[1] / "CONTRIBUTING.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_new_stage_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [code], [pipeline] = blocks("python"), blocks("yaml")
    path = tmp_path / "shouting.py"
    path.write_text(code)
    specification = importlib.util.spec_from_file_location("shouting", path)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "shouting", module)
    try:
        specification.loader.exec_module(module)
        root = corpus(tmp_path / "data")
        write_lines(
            root / "domain" / "loud.jsonl",
            [{"id": "a", "text": "STOP THE DRUG NOW. Thanks."}, {"id": "b", "text": "9"}],
        )
        stages = yaml.safe_load(pipeline)["curate"]["stages"]
        curate(root, tmp_path / "run", stages, **{"eval.held_out": 0})
    finally:
        STAGES.pop("shouting", None)
    removed = ledger(tmp_path / "run").filter(stage="shouting")
    assert removed["id"].to_list() == ["loud/a"] and removed["reason"].to_list() == ["mostly_capitals"]
    assert '"limit": 0.3' in removed["detail"][0]
    kept = pl.read_parquet(sorted((tmp_path / "run" / "documents").rglob("*.parquet")))
    assert kept.height == 3 * 60 + 1


def test_the_commands_exist() -> None:
    targets = set(re.findall(r"^make (\w+)", GUIDE.read_text(encoding="utf-8"), re.MULTILINE))
    made = (GUIDE.parent / "Makefile").read_text(encoding="utf-8")
    assert targets == {"venv", "lint", "test", "docs", "bench"}
    assert all(f"\n{target}:" in made for target in targets)
