"""Files from somebody else run nothing: the rules hold in every module, and each kind of file of a run is checked."""

import ast
import json
import os
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from curate.files import inside, read_json, read_object, write_json
from curate.read_manifest import read_manifest
from pipelines import cli, config
from tests.conftest import REPO
from tests.curate.corpus import corpus, curate
from tests.train import small
from tokenization.folder import read_extension, weight_files
from tokenization.safetensors_copy import read_header

FOLDERS = ("curate", "eval", "mix", "pipelines", "tokenize", "train")
FUZZ = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """Every call in the project's modules: place, what is called, and the call."""
    for folder in FOLDERS:
        for path in sorted((REPO / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield f"{path.relative_to(REPO)}:{node.lineno}", ast.unparse(node.func), node


def keyword(call: ast.Call, name: str) -> Any:
    """The literal given for a keyword, also in a dict that is unpacked; None where there is none."""
    return next((ast.literal_eval(one.value) for one in call.keywords if one.arg == name), None)


def test_nothing_is_unpickled_or_run_from_a_file() -> None:
    forbidden = {
        "pickle.load",
        "pickle.loads",
        "dill.load",
        "joblib.load",
        "marshal.loads",
        "shelve.open",
        "eval",
        "exec",
    }
    forbidden |= {"yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "dcp.load", "os.system", "np.fromfile"}
    allowed = {"train/read_checkpoint.py"}  # restricts what dcp.load does
    for place, name, call in calls():
        assert name not in forbidden or place.split(":")[0] in allowed, f"{place}: {name}"
        assert keyword(call, "shell") is not True if name.startswith("subprocess.") else True, place
        if name in ("np.load", "numpy.load"):
            assert keyword(call, "allow_pickle") is False, f"{place}: says nothing of pickle"
        if name == "torch.load":
            assert keyword(call, "weights_only") is True, f"{place}: may unpickle"
        if name == "yaml.load":
            assert [ast.unparse(one.value) for one in call.keywords] == ["_Loader"], place
    assert issubclass(config._Loader, yaml.SafeLoader)


def test_code_that_comes_with_a_model_is_refused_and_its_pickles_too() -> None:
    for place, name, call in calls():
        if name.endswith(".from_pretrained"):
            source = (REPO / place.split(":")[0]).read_text(encoding="utf-8")
            unpacked = any(one.arg is None for one in call.keywords)
            told = ast.unparse(call) + (source if unpacked else "")
            assert "trust_remote_code=False" in told or "'trust_remote_code': False" in told.replace('"', "'"), place
            assert "Model" not in name or "use_safetensors" in told, f"{place}: may load pytorch_model.bin"


def test_modules_are_imported_by_name_in_one_place_only() -> None:
    places = {
        place.split(":")[0] for place, name, _ in calls() if name.endswith("import_module") or name == "__import__"
    }
    assert places == {"curate/datatrove_step.py"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of somebody else, whose import leaves a file."""
    home = tmp_path / "packages"
    home.mkdir()
    (home / "theirs.py").write_text(
        f"from pathlib import Path\nPath({str(home / 'ran')!r}).touch()\n"
        "from datatrove.pipeline.filters.base_filter import BaseFilter\n"
        "from curate.records import TextRecords\n"
        "class Long(BaseFilter):\n    name = 'long'\n    def filter(self, document):\n"
        "        return len(document.text) > 9\n"
        "class Lines(TextRecords):\n    name = 'lines'\n"
    )
    monkeypatch.syspath_prepend(str(home))
    monkeypatch.setenv("PYTHONPATH", f"{home}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    return home


READER = {"files": "other/*.log", "reader": "theirs.Lines"}


@pytest.mark.parametrize("key", ["stage", "reader"])
def test_a_class_of_another_package_is_not_imported_unless_told_so(tmp_path: Path, package: Path, key: str) -> None:
    root = corpus(tmp_path / "data", documents=3)
    (root / "other").mkdir()
    (root / "other" / "a.log").write_text("a line of a log that is long enough")
    domain = ["domain/*", *([READER] if key == "reader" else [])]
    with pytest.raises(ValueError, match=r"theirs\.\w+ is of neither datatrove nor this project.*--allow-import"):
        curate(root, tmp_path / "run", ["theirs.Long"] if key == "stage" else [], domain=domain)
    assert not (package / "ran").exists()


def test_with_allow_import_it_is(tmp_path: Path, package: Path) -> None:
    from curate.curation import resolve_curation, run_curation

    root = corpus(tmp_path / "data", documents=3)
    (root / "other").mkdir()
    (root / "other" / "a.log").write_text("a line of a log that is long enough")
    values: dict[str, Any] = {
        "name": "x",
        "model": "m",
        "data_root": str(root),
        "domain": ["domain/*", READER],
        "replay": ["general/*"],
    }
    values |= {"output": str(tmp_path / "run"), "curate": {"stages": ["theirs.Long"]}, "eval": {"held_out": 0}}
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump(values))
    pipeline, _ = cli.parse("curate.run", "", "curate", [str(path), "--allow-import"], cli_arguments())
    manifest = run_curation(resolve_curation(pipeline, str(path), print))
    assert [stage["name"] for stage in manifest["stages"]] == ["read", "long"]
    assert "a" in {source["source"] for source in manifest["sources"]}
    saved = tmp_path / "run.yaml"
    config.save(pipeline, saved)
    assert "imports" not in saved.read_text() and not config.load(saved).allows_imports


def cli_arguments() -> Any:
    """The options of curate.run."""
    from curate.run import _arguments

    return _arguments


def test_only_a_name_inside_leads_somewhere(tmp_path: Path) -> None:
    (tmp_path / "run" / "a").mkdir(parents=True)
    os.symlink(tmp_path, tmp_path / "run" / "out")
    os.symlink("loop", tmp_path / "run" / "loop")
    assert inside(tmp_path / "run", "a/b.arrow", "x") == tmp_path / "run" / "a" / "b.arrow"
    for name in ("..", "../x", "a/../../x", "/etc/passwd", "", ".", "a//b", "out/x", "out", "\0", None, 3, ["a"]):
        with pytest.raises(ValueError, match=r"mixture\.json: file: .* leads out of"):
            inside(tmp_path / "run", name, "mixture.json: file")


JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=5),
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
STAGE = {"name": "exact_dedup", "documents_in": 3, "reasons": {"copy": 1}, "seconds": 0.5}
MANIFEST = {"run": "x", "identity": "0", "sources": [{}], "stages": [STAGE], "kept": {"domain": {"documents": 2}}}


@FUZZ
@given(some.sampled_from([*MANIFEST, "name", "documents_in", "reasons", "seconds"]), JSON)
def test_a_manifest_is_read_as_written_or_refused(tmp_path: Path, key: str, value: Any) -> None:
    changed = {**MANIFEST, key: value} if key in MANIFEST else {**MANIFEST, "stages": [{**STAGE, key: value}]}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(changed))
    try:
        found = read_manifest(path, kept=dict, stages=list)
    except ValueError as error:
        assert type(error) is ValueError and str(path) in str(error)
    else:
        assert all(isinstance(pool.get("documents", 0), int) for pool in found["kept"].values())
        assert all("/" not in stage.get("name", "") for stage in found["stages"])


@pytest.mark.parametrize("name", ["../../etc", "/etc", "..", ""])
def test_a_stage_that_is_named_as_a_path_is_refused(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / "manifest.json", {**MANIFEST, "stages": [{**STAGE, "name": name}]})
    with pytest.raises(ValueError, match=r"manifest\.json: stages\.0\.name: is damaged .*no name of a stage"):
        read_manifest(tmp_path / "manifest.json")


@FUZZ
@given(some.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_a_file_that_is_no_json_of_ours_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    for read in (read_json, lambda path: read_object(path, model=str)):
        try:
            read(path)
        except ValueError as error:
            assert type(error) is ValueError and str(path) in str(error)


@FUZZ
@given(JSON | some.fixed_dictionaries({"id": JSON, "parents": JSON}), JSON)
def test_an_extension_is_read_as_written_or_refused(tmp_path: Path, new: Any, base: Any) -> None:
    path = tmp_path / "extension.json"
    path.write_text(json.dumps({"base_vocab": base, "new_tokens": [new]}))
    try:
        found = read_extension(tmp_path)
    except ValueError as error:
        assert type(error) is ValueError and str(path) in str(error)
    else:
        assert all(isinstance(id, int) for one in found["new_tokens"] for id in (one["id"], *one["parents"]))


@pytest.mark.parametrize("name", ["../x.safetensors", "/x.safetensors", "..", "pytorch_model.bin", None, ["a"]])
def test_an_index_of_weights_that_names_a_file_elsewhere_is_refused(tmp_path: Path, name: Any) -> None:
    path = tmp_path / "model.safetensors.index.json"
    write_json(path, {"weight_map": {"a": "model-1.safetensors"}})
    assert weight_files(path) == ["model-1.safetensors"]
    write_json(path, {"weight_map": {"a": "model-1.safetensors", "b": name}})
    with pytest.raises(ValueError, match=r"index\.json: names .* no safetensors file beside it"):
        weight_files(path)


HEADER = json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()


@FUZZ
@given(
    some.integers(0, len(HEADER) - 1),
    some.binary(max_size=4) | some.sampled_from([b"[" * 50_000]),
    some.integers(0, 1 << 63),
)
def test_a_damaged_header_of_weights_is_refused(tmp_path: Path, at: int, other: bytes, length: int) -> None:
    header = HEADER[:at] + other + HEADER[at + len(other) :]
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", length if length % 3 == 0 else len(header)) + header + bytes(8))
    with open(path, "rb") as file:
        try:
            read_header(file, path)
        except ValueError as error:
            assert type(error) is ValueError and str(path) in str(error)


def test_a_model_that_brings_code_or_pickles_is_refused(tmp_path: Path) -> None:
    import torch

    from eval import hugging_face

    folder = small.make_model(tmp_path / "model")
    (folder / "code.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'ran')!r})\nclass Model: pass\n")
    written = read_json(folder / "config.json")
    write_json(folder / "config.json", {**written, "model_type": "x", "auto_map": {"AutoConfig": "code.Model"}})
    with pytest.raises(ValueError, match="trust_remote_code|does not recognize"):
        hugging_face.load(folder)
    write_json(folder / "config.json", written)
    (folder / "model.safetensors").unlink()
    torch.save({"a": torch.zeros(1)}, folder / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        hugging_face.load(folder)
    assert not (tmp_path / "ran").exists()


def test_variables_of_a_traceback_are_not_logged(tmp_path: Path) -> None:
    from loguru import logger

    import curate  # noqa: F401  (tells loguru before it is loaded)

    sink = logger.add(tmp_path / "log", format="{message}")
    password = "w3Jalr" + "XUtnFEMI"
    try:
        raise RuntimeError(f"{len(password)} letters")
    except RuntimeError:
        logger.exception("failed")
    logger.remove(sink)
    told = (tmp_path / "log").read_text()
    assert "RuntimeError" in told and "XUtnFEMI" not in told.replace('"w3Jalr" + "XUtnFEMI"', "")


def test_numpy_refuses_a_pickle(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], object))
    (tmp_path / "b.npz").write_bytes(pickle.dumps({}))
    from curate.arrays import read_arrays
    from curate.novelty import scores

    with pytest.raises(ValueError, match=r"b\.npz: is damaged"):
        read_arrays(tmp_path / "b.npz", {"a": "int64"})
    import polars as pl

    with pytest.raises(ValueError, match=r"a\.npy: is damaged"):
        scores(tmp_path / "a.npy", pl.Series(["one two three four five"]))
