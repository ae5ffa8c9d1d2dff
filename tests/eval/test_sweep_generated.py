"""The sweep's arm whose replay text the base writes: its documents, shards and mixture, without the training."""

from pathlib import Path

import yaml

from curate import run as curate_run
from curate.files import read_json
from eval import replay_sweep, sweep_generated
from eval.sweep_arms import chosen
from mix import build
from pipelines import config
from tests.curate.corpus import corpus
from tests.train import small
from train import own_run


def test_an_arm_with_generated_replay(tmp_path: Path) -> None:
    root, folder, model = corpus(tmp_path / "data"), tmp_path / "run", tmp_path / "base"
    small.make_tokenizer(model)
    small.make_model(model)
    values = small.pipeline(folder, model, steps=4, warmup_steps=1).model_dump(mode="json")
    values |= {"data_root": str(root), "curate": {"executor": {"workers": 1}, "stages": ["normalize", "exact_dedup"]}}
    values["mix"] |= {"weights": {"notes": 1, "papers": 3, "news": 1}, "max_epochs": {"news": 2, "default": 9}}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(values))
    curate_run.main([str(tmp_path / "small.yaml")])
    build.main([str(folder)])
    pipeline = config.load(folder / "pipeline.yaml")
    packed = {path: path.stat().st_mtime_ns for path in (folder / "packed").rglob("*.arrow")}

    [arm] = chosen(pipeline, ["80/20-generated"])
    for seed in (0, 1):
        made = replay_sweep.arm_pipeline(pipeline, arm, seed)
        generated = sweep_generated.curate(pipeline, made.mix.replay)
        sweep_generated.link(folder, generated.folder, made.folder)
        own_run.prepare(folder, made)
        mixture = read_json(made.folder / "mixture.json")
        sources = {pool: [one["name"] for one in found] for pool, found in mixture["plan"]["pools"].items()}
        assert sources == {"domain": ["notes", "papers"], "replay": ["generated"]}
        assert mixture["asked"] == {"domain": 0.8, "replay": 0.2}
        assert mixture["got"]["domain"]["sources"]["papers"]["weight"] == 0.75, "the run's own weights"
    rows = 0.2 * 4 * 8
    written = (folder / "sweep" / "generated" / "generated").glob("*/generated.jsonl")
    assert [len(path.read_text().splitlines()) for path in written] == [round(1.5 * rows + 0.5)]
    assert (made.folder / "held_out").resolve() == folder / "held_out", "forgetting is measured on the run's own text"
    assert {path: path.stat().st_mtime_ns for path in (folder / "packed").rglob("*.arrow")} == packed
