"""Sources and archives at URLs, on a real S3 server on loopback; and what is said where a place gives nothing."""

import functools
import json
import os
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import polars as pl
import pyarrow as pa
import pytest

from curate.files import read_json
from curate.records import read
from curate.sources import resolve
from pipelines import config
from pipelines.storage import connect, reached
from tests.conftest import REPO
from tests.curate import corpus
from tests.pipelines import hub, s3
from train import checksums
from train.checkpoint_policy import Archive
from train.checksums import COMPLETE

STAGES = ["normalize", "exact_dedup"]


def make_text(root: Path) -> Path:
    """Sources of several formats, compressed and not."""
    corpus.corpus(root)
    pl.DataFrame({"id": ["a", "b"], "text": [corpus.sentences(7, 9), corpus.sentences(8, 9)]}).write_parquet(
        root / "domain" / "tables.parquet"
    )
    with pa.CompressedOutputStream(str(root / "domain" / "packed.jsonl.zst"), "zstd") as file:
        for number in range(40):
            file.write(json.dumps({"text": corpus.sentences(900 + number, 7)}).encode() + b"\n")
    return root


def test_sources_in_a_bucket_give_what_they_give_in_a_folder(tmp_path: Path, bucket: str) -> None:
    root = make_text(tmp_path / "text")
    s3.put(root, f"{bucket}/text")
    here, there = tmp_path / "here", tmp_path / "there"
    corpus.curate(root, here, STAGES)
    keys = {"data_root": f"{bucket}/text", "curate.executor.workers": 2}
    # In a process of its own: worker processes have the environment of when their server began.
    code = "import sys, pathlib; from tests.curate import corpus; root, there, stages, keys = eval(sys.argv[1]); "
    code += "corpus.curate(pathlib.Path(root), pathlib.Path(there), stages, **keys)"
    told = repr((str(root), str(there), STAGES, keys))
    done = subprocess.run([sys.executable, "-c", code, told], cwd=REPO, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    manifest = read_json(there / "manifest.json")
    assert corpus.bytes_of(there) == corpus.bytes_of(here) and len(corpus.kept(there)) > 150
    assert {stage["documents_in"] for stage in manifest["stages"][:1]} == {3 * 60 + 42}


def test_a_pool_lists_urls_beside_globs_of_the_data_root(tmp_path: Path, bucket: str) -> None:
    root = make_text(tmp_path / "text")
    s3.put(root, bucket)
    made, path = corpus.pipeline(root, tmp_path / "run", [], domain=["domain/notes*", f"{bucket}/domain/p*"])
    found = resolve(made, str(path))
    assert [(one.name, one.root) for one in found if one.pool == "domain"] == [
        ("notes", str(root)),
        ("packed", f"{bucket}/domain"),
        ("papers", f"{bucket}/domain"),
    ]
    again = {one.name: one.identity for one in resolve(made, str(path))}
    corpus.write_lines(root / "domain" / "papers.jsonl.gz", [{"text": "another"}])
    s3.put(root / "domain", f"{bucket}/domain")
    changed = {one.name: one.identity for one in resolve(made, str(path))}
    assert {name for name in again if again[name] != changed[name]} == {"papers"}


def test_a_source_on_a_web_server_is_read(tmp_path: Path) -> None:
    root = corpus.corpus(tmp_path / "text")
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/domain/notes.jsonl.gz"
        corpus.curate(root, tmp_path / "web", STAGES, domain=[url])
        server.shutdown()
    corpus.curate(root, tmp_path / "local", STAGES, domain=["domain/notes.jsonl.gz"])
    assert corpus.kept(tmp_path / "web") == corpus.kept(tmp_path / "local") and len(corpus.kept(tmp_path / "web")) > 90


def refused(root: Path, **changes: object) -> str:
    """What is said where the sources cannot be found."""
    made, path = corpus.pipeline(root, root / "run", [], **changes)
    with pytest.raises(ValueError) as error:
        resolve(made, str(path))
    assert s3.SECRET not in str(error.value)
    return str(error.value).removeprefix(f"{path}: ")


def test_a_bucket_without_credentials_names_the_key_and_the_variables(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = corpus.corpus(tmp_path / "text")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    s3.store().clear_instance_cache()
    told = refused(root, data_root=f"{bucket}/text")
    assert told.startswith(f"domain[0]: {bucket}/text: there are no credentials") and "AWS_ACCESS_KEY_ID" in told
    with pytest.raises(ValueError, match="train.archive: s3://.* there are no credentials"):
        Archive(f"{bucket}/kept").reach()
    monkeypatch.setenv("FSSPEC_S3_ANON", "true")
    monkeypatch.setattr("fsspec.config.conf", {})
    fsspec.config.set_conf_env(fsspec.config.conf)  # as fsspec does when it is imported
    s3.store().clear_instance_cache()
    assert "matches no file" in refused(root, data_root=f"{bucket}/text")
    s3.store().clear_instance_cache()


def test_a_server_that_does_not_answer_is_named(
    tmp_path: Path, s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = corpus.corpus(tmp_path / "text")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("s3fs.core.S3FileSystem.retries", 1)
    s3.store().clear_instance_cache()
    told = refused(root, data_root="s3://bucket/text")
    assert told.startswith("domain[0]: s3://bucket/text: cannot be read or written (Could not connect to the endpoint")
    s3.store().clear_instance_cache()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("nowhere://bucket", "domain[0]: 'nowhere://bucket' cannot be opened (Protocol not known: nowhere)"),
        ("s3://*.jsonl", "domain[0]: 's3://*.jsonl' names no bucket"),
    ],
)
def test_a_url_that_cannot_be_used_says_why(tmp_path: Path, url: str, told: str) -> None:
    root = corpus.corpus(tmp_path / "text")
    key = "domain" if "*" in url else "data_root"
    assert told in refused(root, **{key: [url] if key == "domain" else url})


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (PermissionError("Forbidden"), "access is refused (Forbidden)"),
        (FileNotFoundError("The specified bucket does not exist"), "Make the bucket, or correct the URL"),
        (OSError(f"https://u:{s3.SECRET}@host timed out"), "cannot be read or written (https://***@host timed out)"),
    ],
)
def test_what_a_service_answers_is_said_with_what_to_do(error: Exception, told: str) -> None:
    with pytest.raises(ValueError, match="^key: s3://bucket: ") as raised, reached("s3://bucket", "key"):
        raise error
    assert told in str(raised.value)
    with pytest.raises(type(error)), reached("/a/folder", "key"):
        raise error


def run(*arguments: str, pipeline: Path, **environment: str) -> str:
    """What curate.run says on its error stream when it refuses its sources."""
    command = [sys.executable, "-m", "curate.run", str(pipeline), "--dry-run", *arguments]
    done = subprocess.run(command, cwd=REPO, env=os.environ | environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


def test_a_hub_that_cannot_be_reached_says_what_to_fetch_and_where_to_put_it(tmp_path: Path) -> None:
    root = corpus.corpus(tmp_path / "text")
    corpus.pipeline(root, tmp_path / "run", [])
    url = "hf://datasets/org/name@v1/data/*.parquet"
    told = run("--domain", f"['{url}']", pipeline=root / "pipeline.yaml", HF_ENDPOINT="http://127.0.0.1:9")
    assert "domain[0]: hf://datasets/org/name@v1/data: the hub does not give it out" in told
    wanted = "hf download org/name --repo-type dataset --revision v1 --include 'data/*' --local-dir FOLDER"
    assert wanted in told and "set data_root: FOLDER and name its files as data/*" in told
    from tokenization.folder import find

    with pytest.raises(
        ValueError, match=r"model: no/where/at-all .*hf download .*--local-dir FOLDER.*set model: FOLDER"
    ):
        find("no/where/at-all")


def make_checkpoint(folder: Path, files: int) -> Path:
    """A complete checkpoint."""
    folder.mkdir(parents=True)
    for number in range(files):
        (folder / f"__{number}_0.distcp").write_bytes(bytes([number]) * 50_000)
    checksums.complete(folder, {}, {p.name: m for n in range(files) for p, m in _measured(folder, n)})
    return folder


def _measured(folder: Path, rank: int) -> list[tuple[Path, dict[str, object]]]:
    return [(folder / name, entry) for name, entry in checksums.measure_files(folder, rank).items()]


def test_an_archive_killed_in_the_middle_does_not_count_and_is_finished_later(tmp_path: Path, bucket: str) -> None:
    folder = make_checkpoint(tmp_path / "step-5", 30)
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    move = "import sys, pathlib, train.checkpoint_policy as p; p.Archive(sys.argv[1]).move(pathlib.Path(sys.argv[2]))"
    killed = subprocess.Popen([sys.executable, "-c", move, f"{bucket}/kept", str(folder)], cwd=REPO)
    s3.until(lambda: len(s3.listed(f"{bucket}/kept")) >= 3)
    killed.kill()
    killed.wait()
    there = s3.listed(f"{bucket}/kept/step-5")
    assert COMPLETE not in there and 3 <= len(there) < 31
    assert checksums.damage(folder) == []
    place = Archive(f"{bucket}/kept").move(folder)
    assert not folder.exists()
    assert {name: s3.store().cat_file(f"{place}/{name}") for name in s3.listed(f"s3://{place}")} == content


def test_an_archive_in_a_bucket_that_is_not_there_makes_none(tmp_path: Path, s3_server: str) -> None:
    folder = make_checkpoint(tmp_path / "step-5", 1)
    with pytest.raises(FileNotFoundError, match="bucket does not exist"):
        Archive("s3://misspelt/kept").move(folder)
    assert folder.is_dir() and not s3.store().exists("misspelt")


def test_the_url_of_a_run_is_no_output_folder(tmp_path: Path) -> None:
    corpus.pipeline(corpus.corpus(tmp_path / "text"), tmp_path / "run", [])
    with pytest.raises(ValueError, match=r"output: .* cannot be used: .*set storage.publish to this URL"):
        config.load(tmp_path / "text" / "pipeline.yaml", {"output": "s3://bucket/runs/x"})


def test_a_place_without_its_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ValueError, match=r"^key: 'gs://bucket' cannot be opened .*Install gcsfs\."):
        connect("gs://bucket", "key")


READ = """
import sys
from curate.files import read_json
from curate.records import read
from curate.sources import resolve
from pipelines import config
for source in resolve(config.load(sys.argv[1]), "p"):
    for document in read(source):
        print(source.pool, source.name, document.id, document.text)
"""


def test_a_dataset_of_a_hub_is_read_by_its_url(tmp_path: Path) -> None:
    root = corpus.corpus(tmp_path / "text")
    made, path = corpus.pipeline(root, tmp_path / "run", [])
    wanted = [
        f"{source.pool} {source.name} {one.id} {one.text}" for source in resolve(made, "p") for one in read(source)
    ]
    domain = ["hf://datasets/org/name@v1/domain/*.jsonl.gz"]
    config.save(corpus.pipeline(root, tmp_path, [], data_root="hf://datasets/org/name@v1", domain=domain)[0], path)
    with hub.serve(root, "org/name", "v1") as address:
        environment = os.environ | {"HF_ENDPOINT": address}
        command = [sys.executable, "-c", READ, str(path)]
        done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == wanted and len(wanted) == 180
