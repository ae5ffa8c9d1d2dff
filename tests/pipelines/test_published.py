"""Runs published to a real S3 server on loopback and fetched from it: whole or not at all, whoever is killed when."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curate.files import identity, read_json, write_json
from mix import build
from mix.loader import Loader
from mix.plan_file import read_plan
from pipelines import cli, config, published
from pipelines.listing import LISTING
from tests.conftest import REPO
from tests.pipelines import s3
from tests.train import small
from train import launch

PUBLISH = (
    "import sys, pathlib; from pipelines.published import publish; publish(pathlib.Path(sys.argv[1]), sys.argv[2])"
)
USE = "import sys; from pipelines import cli; cli.parse('train.launch', '', 'train', sys.argv[1:])"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder up to and with its mixture."""
    home = tmp_path_factory.mktemp("published")
    folder = home / "small"
    small.curated(folder)
    write_json(folder / "manifest.json", {"stages": []})
    pipeline = small.pipeline(folder, home / "base", steps=2, warmup_steps=1)
    config.save(pipeline, folder / "pipeline.yaml")
    build.build(pipeline)
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "made"))


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    for held in published.shard_cache._held:
        held.close()


def arguments(url: str, folder: Path) -> list[str]:
    return [url, "--output", str(folder), "--storage.cache", str(folder.parent / "cache")]


def take(url: str, folder: Path, *more: str) -> config.Pipeline:
    """What a command does first that is given a URL."""
    return cli.parse("train.launch", "", "train", [*arguments(url, folder), *more])[0]


def content(folder: Path, *names: str) -> dict[str, bytes]:
    paths = [
        path
        for name in names
        for path in ([folder / name] if (folder / name).is_file() else (folder / name).rglob("*"))
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths if path.is_file()}


READ = ("mixture.json", "manifest.json", "tokenizer", "held_out", "packed")


def test_a_run_fetched_from_a_bucket_gives_the_same_rows(run: Path, bucket: str, tmp_path: Path) -> None:
    url, there = f"{bucket}/runs/small", tmp_path / "there"
    published.publish(run, url)
    pipeline = take(url, there)
    assert pipeline.folder == there and (there / "packed").is_symlink() and not (there / "documents").exists()
    assert content(there, *READ) == content(run, *READ) and len(content(there, "packed")) == 9
    loaders = [Loader(read_plan(one / "mixture.json"), one / "packed", 8) for one in (run, there)]
    ours, theirs = (loader.batch(0, 40) for loader in loaders)
    assert (ours.input == theirs.input).all() and (ours.labels == theirs.labels).all()
    assert take(url, there).folder == there  # again, with nothing to fetch


def test_two_processes_train_at_a_url_and_publish_what_they_made(
    run: Path, bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, there = f"{bucket}/runs/small", tmp_path / "there"
    base = small.make_model(tmp_path / "base", tie_word_embeddings=True)
    changed = config.load(run / "pipeline.yaml", {"storage.publish": url, "model": str(base)})
    config.save(changed, run / "pipeline.yaml")
    published.publish(run, url)
    command = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "train.launch", *arguments(url, there)]
    done = subprocess.run([sys.executable, *command], cwd=REPO, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing new" not in done.stdout and f"published to {url}: " in done.stdout
    scored = cli.parse("eval.run", "", "eval", arguments(url, tmp_path / "scored"))[0].folder
    assert content(scored, "train/main/export") == content(there, "train/main/export") != {}
    assert not (scored / "train/main/checkpoints").exists() and (there / "train/main/checkpoints").exists()
    again = take(url, tmp_path / "again").folder  # what the others had published is still there
    assert content(again, *READ) == content(run, *READ)
    capsys.readouterr()
    launch.main([str(there)])
    printed = capsys.readouterr().out
    assert "is there, the run is finished" in printed and "nothing new" in printed


@pytest.mark.parametrize("objects", [1, 12])
def test_an_upload_that_is_killed_is_never_seen(run: Path, bucket: str, tmp_path: Path, objects: int) -> None:
    killed = subprocess.Popen([sys.executable, "-c", PUBLISH, str(run), bucket], cwd=REPO)
    s3.until(lambda: len(s3.listed(bucket)) >= objects)
    killed.kill()
    killed.wait()
    begun = s3.listed(bucket)
    assert LISTING not in begun and len(begun) >= objects
    with pytest.raises(ValueError, match=r"there is no run.json, .*not finished"):
        take(bucket, tmp_path / "there")
    assert not (tmp_path / "there").exists()
    published.publish(run, bucket)
    assert set(begun) < set(s3.listed(bucket))
    take(bucket, tmp_path / "there")
    assert content(tmp_path / "there", *READ) == content(run, *READ)


def test_a_new_version_that_is_killed_leaves_the_one_before(run: Path, bucket: str, tmp_path: Path) -> None:
    published.publish(run, bucket)
    before, objects = content(run, *READ), len(s3.listed(bucket))
    build.main([str(run), "--domain", "0.5", "--replay", "0.5", "--seq-len", "32"])
    killed = subprocess.Popen([sys.executable, "-c", PUBLISH, str(run), bucket], cwd=REPO)
    s3.until(lambda: len(s3.listed(bucket)) >= objects + 3)
    killed.kill()
    killed.wait()
    take(bucket, tmp_path / "there")
    assert content(tmp_path / "there", *READ) == before
    new, _, others = published.publish(run, bucket)
    take(bucket, tmp_path / "there")
    assert content(tmp_path / "there", *READ) == content(run, *READ) != before
    assert new == 8 and others > 10  # pipeline.yaml, mixture.json and of each source the shard and packed.json


def test_a_download_that_is_killed_is_never_seen(run: Path, bucket: str, tmp_path: Path) -> None:
    published.publish(run, bucket)
    there, cache = tmp_path / "there", tmp_path / "cache"
    wanted = content(run, *READ)
    for fetched in (3, 10):
        killed = subprocess.Popen([sys.executable, "-c", USE, *arguments(bucket, there)], cwd=REPO)
        s3.until(lambda fetched=fetched: len(files(there) + files(cache)) >= fetched)  # type: ignore[misc]
        killed.kill()
        killed.wait()
        for path in files(there) + files(cache):
            name = str(path.relative_to(there)) if path.is_relative_to(there) else "/".join(path.parts[-4:])
            if name in wanted:
                assert path.read_bytes() == wanted[name]
    take(bucket, there)
    assert content(there, *READ) == wanted
    assert not [path for folder in (there, cache) for path in folder.rglob(".*.tmp")]


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]


def test_bytes_that_were_changed_at_the_url_are_not_used(run: Path, bucket: str, tmp_path: Path) -> None:
    published.publish(run, bucket)
    for piece, kept_out in (("held_out/domain/notes", tmp_path / "there"), ("packed/domain/notes", tmp_path / "cache")):
        (name,) = [name for name in s3.listed(bucket) if name.startswith(piece) and "-00000." in name]
        right = s3.store().cat_file(f"{bucket}/{name}")
        s3.store().pipe_file(f"{bucket}/{name}", right[:-1] + b"x")
        with pytest.raises(ValueError, match=f"{name}: has other bytes than were published"):
            take(bucket, tmp_path / "there")
        assert not [path for path in files(kept_out) if str(path.parent).endswith(piece) and "00000" in path.name]
        s3.store().pipe_file(f"{bucket}/{name}", right)
    take(bucket, tmp_path / "there")
    s3.store().rm_file(f"{bucket}/{name}")
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(ValueError, match="is gone, though run.json names it"):
        take(bucket, tmp_path / "there")


HEX = "0" * 32
BAD = [
    ("../outside", {"bytes": 1, "blake2b": HEX}, "is no file of a run"),
    ("tokenizer/../../outside", {"bytes": 1, "blake2b": HEX}, "is no file of a run"),
    ("/etc/passwd", {"bytes": 1, "blake2b": HEX}, "is no file of a run"),
    (".fetch.lock", {"bytes": 1, "blake2b": HEX}, "is no file of a run"),
    ("tokenizer//x", {"bytes": 1, "blake2b": HEX}, "leads out of"),
    ("packed/../../outside", {"bytes": 1, "blake2b": HEX}, "is no file of a run"),
    ("tokenizer/x", {"bytes": 1, "blake2b": "../../x"}, "has no size and digest"),
    ("tokenizer/x", {"bytes": "1", "blake2b": HEX}, "has no size and digest"),
    ("tokenizer/x", None, "has no size and digest"),
]


@pytest.mark.parametrize(("name", "entry", "told"), BAD)
def test_a_listing_that_leads_out_of_the_folder_is_refused(
    run: Path, bucket: str, tmp_path: Path, name: str, entry: Any, told: str
) -> None:
    published.publish(run, bucket)
    found = json.loads(s3.store().cat_file(f"{bucket}/{LISTING}"))["files"] | {name: entry}
    s3.store().pipe_file(f"{bucket}/{LISTING}", json.dumps({"files": found, "identity": identity(found)}).encode())
    with pytest.raises(ValueError, match=told):
        take(bucket, tmp_path / "a" / "there")
    assert not (tmp_path / "outside").exists() and not (tmp_path / "a" / "outside").exists()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b'{"files": {}}', b'{"files": {}, "identity": "0"}'])
def test_a_damaged_listing_is_named(bucket: str, tmp_path: Path, text: bytes) -> None:
    s3.store().pipe_file(f"{bucket}/{LISTING}", text)
    with pytest.raises(ValueError, match=rf"{bucket}/{LISTING}: is damaged"):
        take(bucket, tmp_path / "there")


def test_a_link_out_of_the_run_is_not_published(run: Path, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("of somebody else")
    (run / "held_out" / "domain" / "notes" / "link").symlink_to(tmp_path / "private")
    with pytest.raises(ValueError, match="leads out of"):
        published.publish(run, bucket)
    assert s3.listed(bucket) == []


def test_a_folder_that_holds_something_else_is_left_alone(run: Path, bucket: str, tmp_path: Path) -> None:
    published.publish(run, f"{bucket}/one")
    published.publish(run, f"{bucket}/other")
    before = content(run, ".")
    with pytest.raises(ValueError, match="was not fetched from .* so its files would be overwritten"):
        take(f"{bucket}/one", run)
    assert content(run, ".").keys() - before.keys() == {".fetch.lock"}
    take(f"{bucket}/one", tmp_path / "there")
    with pytest.raises(ValueError, match=f"is a copy of {bucket}/one, not of {bucket}/other"):
        take(f"{bucket}/other", tmp_path / "there")


def test_what_builds_a_run_does_not_work_on_a_published_one(run: Path, bucket: str, tmp_path: Path) -> None:
    published.publish(run, bucket)
    with pytest.raises(ValueError, match="mix.build builds a run in a folder of this machine"):
        build.main(arguments(bucket, tmp_path / "there"))
    take(bucket, tmp_path / "there")
    with pytest.raises(ValueError, match="mix.build builds a run in a folder of this machine"):
        build.main([str(tmp_path / "there")])


def test_only_what_is_finished_is_published(run: Path, bucket: str) -> None:
    (run / "mixture.json").unlink()
    for name in ("train/half/checkpoints/step-5/__0_0.distcp", "work/x", "documents/domain/notes/.00001.parquet.tmp"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("half")
    published.publish(run, bucket)
    names = {name.split("/")[0].rpartition("-")[2] for name in s3.listed(bucket)}
    assert names == {"run.json", "pipeline.yaml", "manifest.json", "tokenizer", "documents", "held_out"}
    assert not [name for name in s3.listed(bucket) if "tmp" in name]
    (run / "manifest.json").unlink()
    with pytest.raises(ValueError, match="no manifest.json, so no run is finished there"):
        published.publish(run, bucket)


def test_a_mixture_larger_than_the_cache_is_refused(run: Path, bucket: str, tmp_path: Path) -> None:
    published.publish(run, bucket)
    with pytest.raises(ValueError, match=r"storage.cache_gib: 1e-06 GiB cannot hold the shards of this mixture \(0.00"):
        take(bucket, tmp_path / "there", "--storage.cache_gib", "0.000001")
    assert not (tmp_path / "there" / "packed").exists()


def test_a_folder_of_this_machine_can_be_published_to(run: Path, tmp_path: Path) -> None:
    url = f"file://{tmp_path}/shared/small"
    assert published.publish(run, url)[0] == len(read_json(tmp_path / "shared" / "small" / LISTING)["files"])
    take(url, tmp_path / "there")
    assert content(tmp_path / "there", *READ) == content(run, *READ)


def test_an_output_that_is_a_url_says_where_to_put_it(run: Path) -> None:
    with pytest.raises(ValueError, match="set storage.publish to this URL"):
        cli.parse("mix.build", "", "mix", [str(run), "--output", "s3://bucket/run"])
    assert not Path("s3:").exists()
    assert os.listdir(".") == ["made"]


def test_a_command_brings_what_it_reads_and_a_copy_never_publishes_less(run: Path, bucket: str, tmp_path: Path) -> None:
    for name in ("train/main/export/config.json", "train/other/export/config.json", "report.html"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("made by training")
    published.publish(run, bucket)
    there = take(bucket, tmp_path / "there").folder
    assert sorted(path.name for path in there.iterdir() if path.name in ("documents", "train", "report.html")) == [
        "train"
    ]
    assert [path.name for path in (there / "train").iterdir()] == ["main"]
    cli.parse("mix.verify", "", "mix", arguments(str(there), there))
    assert content(there, "documents") == content(run, "documents") != {}
    cli.parse("eval.report", "", "eval", arguments(str(there), there))
    assert content(there, "train", "report.html") == content(run, "train", "report.html")
    shutil.rmtree(there / "documents" / "domain")
    (there / "train" / "main" / "export" / "config.json").write_text("trained again")
    assert published.publish(there, bucket)[0] == 1
    again = cli.parse("eval.report", "", "eval", arguments(bucket, tmp_path / "again"))[0].folder
    assert content(again, "documents") == content(run, "documents")
    assert content(again, "train") == content(there, "train") != content(run, "train")
    with pytest.raises(ValueError, match=f"is a copy of a part of {bucket} and can only be published there"):
        published.publish(there, f"{bucket}/elsewhere")
