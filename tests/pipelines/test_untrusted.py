"""A pipeline file from somebody else: it gives a pipeline or a named error, runs nothing and keeps no secret."""

import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from curate.plan import build_stages
from pipelines import cli, config
from pipelines.secrets import refuse, scrub
from tests.conftest import REPO

FUZZ = settings(
    max_examples=70, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXT = (REPO / "pipelines" / "clinical.yaml").read_text(encoding="utf-8")
KEYS = {"name": "x", "model": "m", "domain": ["a"], "replay": ["b"]}
SECRET = "w3Jalr" + "XUtnFEMI"


def load(folder: Path, content: str | bytes) -> config.Pipeline | None:
    """The pipeline, None where it is refused with an error that names the file."""
    path = folder / "p.yaml"
    path.write_bytes(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content)
    try:
        return config.load(path)
    except ValueError as error:
        assert type(error) is ValueError and str(error).startswith(str(path))
        return None


@FUZZ
@given(some.text(max_size=60) | some.binary(max_size=60))
def test_any_text_is_refused_by_name(tmp_path: Path, content: str | bytes) -> None:
    load(tmp_path, content)


@FUZZ
@given(some.floats(0, 0.999), some.text("{}[]&*!<>|-:\"'%@`#,? \n\t0123abc~", max_size=8))
def test_any_change_to_a_pipeline_is_refused_by_name_or_read(tmp_path: Path, at: float, other: str) -> None:
    start = int(at * len(TEXT))
    load(tmp_path, TEXT[:start] + other + TEXT[start + len(other) :])


SCALARS = some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=6) | some.dates()
VALUES = some.recursive(
    SCALARS, lambda inner: some.lists(inner, max_size=3) | some.dictionaries(SCALARS, inner, max_size=3), max_leaves=6
)


@FUZZ
@given(some.sampled_from(sorted(config.Pipeline.model_fields)), some.data())
def test_any_value_of_any_key_is_refused_by_name_or_read(tmp_path: Path, key: str, data: Any) -> None:
    values = copy.deepcopy(KEYS)
    inner = config.Pipeline.model_fields[key].annotation
    value = data.draw(VALUES)
    if names := sorted(getattr(inner, "model_fields", ())):
        value = {data.draw(some.sampled_from(names)): value}
    pipeline = load(tmp_path, yaml.safe_dump(values | {key: value}))
    if pipeline:
        try:
            build_stages(pipeline, "p.yaml")
        except ValueError as error:
            assert type(error) is ValueError and "p.yaml: curate.stages" in str(error)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\n"
        + "".join(f"{two}: &{two} [{', '.join([f'*{one}'] * 10)}]\n" for one, two in pairwise("abcdefghij")),
        "a: &a [*a]",
        "a: &a {<<: *a}",
        "[" * 100_000,
        "a: 2024-13-45",
        "a: !!float x",
        "a: !!int 0b2",
        "a: " + "9" * 5000,
        "? [a]\n: b",
        "? {a: b}\n: c",
        "a: !!binary '*'",
        "a: !!python/object/apply:os.mkdir [made]",
        "a: !!python/name:os.system ''",
        "!!python/object/new:type [x, [], {}]",
        "\0",
        "\ud800",
        "--- a\n--- b",
        "".join(f"k{number}: 1\n" for number in range(20_000)),
    ],
)
def test_yaml_that_is_made_to_harm_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(tmp_path, text) is None
    assert not (tmp_path / "made").exists()


def test_a_few_aliases_are_fine(tmp_path: Path) -> None:
    text = "name: x\nmodel: m\ndomain: &files [a]\nreplay: *files\n"
    assert config.load(write(tmp_path, text)).replay == ["a"]


@pytest.mark.parametrize("name", ["..", ".", "-x", "a/b", ""])
def test_a_run_cannot_be_called_what_is_no_folder_of_its_own(tmp_path: Path, name: str) -> None:
    for values in (KEYS | {"name": name}, KEYS | {"train": {"run": name}}):
        assert load(tmp_path, yaml.safe_dump(values)) is None


SECRETS = [
    ({"data_root": f"s3://AKIDEXAMPLE:{SECRET}@bucket/text"}, "data_root"),
    ({"output": f"https://user:{SECRET}@host/x"}, "output"),
    ({"train": {"archive": f"s3://key:{SECRET}@bucket"}}, "train.archive"),
    ({"domain": [f"https://host/x.jsonl?sig={SECRET}&a=1"]}, r"domain\[0\]"),
    ({"domain": [f"https://host/x.jsonl?X-Amz-Signature={SECRET}"]}, r"domain\[0\]"),
    ({"model": "hf_" + SECRET * 2}, "model"),
    (
        {"domain": [{"files": "x", "reader": "datatrove.pipeline.readers.CSVReader", "arguments": {"token": SECRET}}]},
        r"domain\[0\]\.arguments\.token",
    ),
    (
        {"curate": {"stages": [{"select": {"aws_secret_access_key": SECRET}}]}},
        r"stages\[0\]\.select\.aws_secret_access",
    ),
    ({"curate": {"stages": [{"x": {"options": [{"password": SECRET}]}}]}}, r"options\[0\]\.password"),
]


@pytest.mark.parametrize(("values", "key"), SECRETS)
def test_a_secret_is_refused_and_not_shown(tmp_path: Path, values: dict[str, Any], key: str) -> None:
    with pytest.raises(ValueError, match=rf"p\.yaml: .*{key}.*: holds .* by the environment") as refused:
        config.load(write(tmp_path, yaml.safe_dump(KEYS | values)))
    assert SECRET not in str(refused.value)


def test_a_secret_of_the_command_line_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, yaml.safe_dump(KEYS))
    with pytest.raises(ValueError, match="data_root: holds a URL with a password"):
        cli.parse("mix.build", "", "mix", [str(path), "--data-root", f"s3://key:{SECRET}@bucket"])


def test_a_secret_that_an_api_user_put_there_is_not_saved(tmp_path: Path) -> None:
    pipeline = config.Pipeline.model_validate(KEYS | {"data_root": f"s3://key:{SECRET}@bucket"})
    with pytest.raises(ValueError, match="data_root: holds"):
        config.save(pipeline, tmp_path / "run" / "pipeline.yaml")
    assert not (tmp_path / "run").exists()


def test_a_secret_in_broken_yaml_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not valid YAML") as refused:
        config.load(write(tmp_path, f"data_root: 's3://key:{SECRET}@bucket"))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        "s3://bucket/text",
        "hf://datasets/org/name@main/data/*.parquet",
        "simplecache::https://host/a:b@c.jsonl",
        "git@github.com:org/name",
        {"pad_token": "<pad>", "text_key": "note", "tokenizer": "x", "max_tokens": "5", "token": None},
    ],
)
def test_what_is_no_secret_passes(value: Any) -> None:
    refuse({"key": value}, "p.yaml")


@pytest.mark.parametrize("path", sorted((REPO / "pipelines").glob("*.yaml")), ids=lambda path: path.name)
def test_no_pipeline_of_the_repo_is_taken_for_a_secret(path: Path) -> None:
    refuse(config.load(path).model_dump(mode="json"), str(path))


def test_a_message_is_printed_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_SERVICE_TOKEN", SECRET)
    told = f"cannot reach https://me:pass@host/a?sig=abc&b=1 with {SECRET}"
    assert scrub(told) == "cannot reach https://***@host/a?sig=***&b=1 with ***"

    def fails() -> None:
        raise ValueError(told)

    with pytest.raises(SystemExit):
        cli.run(fails)
    assert capsys.readouterr().err == f"error: {scrub(told)}\n"


def write(folder: Path, text: str) -> Path:
    """p.yaml with a text."""
    (folder / "p.yaml").write_text(text)
    return folder / "p.yaml"
