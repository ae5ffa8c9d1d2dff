"""Pipeline files: strict, and errors that name the file, the key and what is allowed."""

from pathlib import Path

import pytest

from curate.plan import build_stages
from pipelines import cli, config
from tests.conftest import REPO

MINIMAL = "name: x\nmodel: m\ndomain: [a]\nreplay: [b]\n"


def load(tmp_path: Path, text: str, **overrides: object) -> config.Pipeline:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    return config.load(path, overrides)


def test_defaults_and_overrides(tmp_path: Path) -> None:
    pipeline = load(tmp_path, MINIMAL + "mix: {seq_len: 64}\n", **{"mix.domain": 0.9, "train.peak_lr": 1e-3})
    assert (pipeline.mix.seq_len, pipeline.mix.domain, pipeline.train.peak_lr) == (64, 0.9, 1e-3)
    assert pipeline.folder == Path("runs/x")


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            "mix: {seqlen: 64}",
            r"p.yaml: mix.seqlen: there is no such key. Known here: executor, seq_len, domain",
        ),
        ("colour: red", r"p.yaml: colour: there is no such key. Known here: name, model, data_root"),
        ("mix: {seq_len: many}", r'p.yaml: mix.seq_len: "many" cannot be used'),
        ("train: {steps: 0}", r"p.yaml: train.steps: 0 cannot be used: input should be greater than or equal to 1"),
        ("eval: {held_out: .nan}", r"p.yaml: eval.held_out"),
        ("train: {lora_rank: yes}", r"p.yaml: train.lora_rank: true cannot be used: .*true and false .* no value"),
        ("train: {run: ..}", r'p.yaml: train.run: "\.\." cannot be used'),
        ("mix: 3", r"p.yaml: mix: 3 cannot be used"),
        ("name: y", r"p.yaml: is not valid YAML.*given twice"),
        ("mix: [", r"p.yaml: is not valid YAML"),
        ("curate: {on_bad_record: ignore}", r"curate.on_bad_record: \"ignore\" cannot be used.*quarantine"),
    ],
)
def test_errors_name_file_and_key(tmp_path: Path, extra: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        load(tmp_path, MINIMAL + extra + "\n")


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("nosuch", r"curate.stages\[0\]: there is no stage 'nosuch'. Known: .*near_dedup"),
        ("{near_dedup: {threshold: 1.3}}", r"curate.stages\[0\].near_dedup.threshold: .*1.3.*"),
        (
            "{near_dedup: {treshold: 0.8}}",
            r"curate.stages\[0\].near_dedup.treshold: there is no such key. Known here: threshold",
        ),
        ("{near_dedup: 0.8}", r"curate.stages\[0\].near_dedup: 0.8 is not a set of keys"),
        ("{near_dedup: {}, language: {}}", r"curate.stages\[0\]: .* is not a stage"),
        ("7", r"curate.stages\[0\]: 7 is not a stage"),
    ],
)
def test_stage_errors_name_the_key(tmp_path: Path, stage: str, message: str) -> None:
    pipeline = load(tmp_path, MINIMAL + f"curate: {{stages: [{stage}]}}\n")
    with pytest.raises(ValueError, match=f"(?s)p.yaml: {message}"):
        build_stages(pipeline, "p.yaml")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ValueError, match=r"absent.yaml: there is no such pipeline file"):
        config.load("absent.yaml")


def test_what_is_saved_loads_again(tmp_path: Path) -> None:
    pipeline = load(tmp_path, MINIMAL + "train: {peak_lr: 1.0e-3}\n")
    config.save(pipeline, tmp_path / "run" / "pipeline.yaml")
    assert config.load(tmp_path / "run" / "pipeline.yaml") == pipeline


@pytest.mark.parametrize("path", sorted((REPO / "pipelines").glob("*.yaml")), ids=lambda path: path.name)
def test_every_pipeline_of_the_repo_is_valid(path: Path) -> None:
    assert build_stages(config.load(path), str(path))


def test_own_keys_are_plain_options_and_all_keys_dotted(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(MINIMAL)
    arguments = [
        str(path),
        "--domain",
        "0.7",
        "--replay",
        "0.3",
        "--train.steps",
        "5",
        "--output",
        str(tmp_path / "run"),
    ]
    pipeline, _ = cli.parse("mix.build", "", "mix", arguments)
    assert (pipeline.mix.domain, pipeline.mix.replay, pipeline.train.steps) == (0.7, 0.3, 5)
    assert pipeline.folder == tmp_path / "run" and pipeline.domain == ["a"]


def test_without_a_run_the_first_command_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"there is no run yet.*python -m curate.run"):
        cli.parse("mix.build", "", "mix", [])


def test_the_latest_run_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline = load(tmp_path, MINIMAL)
    config.save(pipeline, Path("runs/x/pipeline.yaml"))
    cli.remember_latest(pipeline.folder)
    found, _ = cli.parse("mix.build", "", "mix", [])
    assert found.folder == Path("runs/x")
