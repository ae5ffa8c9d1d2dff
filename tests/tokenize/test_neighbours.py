"""Rows from tokens used alike: sparsemax, the vectors, and what is too rare to compare."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tokenization.extend import extend
from tokenization.neighbours import MIN_COUNT, neighbours, sparsemax
from tokenization.pretokens import Pretokens
from tokenization.train import train

ANIMALS = ("cat", "dog", "cow", "hen", "pig")
PLACES = ("mat", "bed", "box", "hut", "rug")


def sentences(animals: tuple[str, ...], places: tuple[str, ...], number: int) -> list[str]:
    """Animals sit and eat, places are built and cold."""
    draw = random.Random(0)
    shapes = ("The {a} sat and ate.", "My {a} ran to eat.", "They built a {p} of wood.", "It is cold in the {p} now.")
    return [
        " ".join(draw.choice(shapes).format(a=draw.choice(animals), p=draw.choice(places)) for _ in range(6))
        for _ in range(number)
    ]


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer that has learned ' okapi' as an animal and ' igloo' as a place, and the text it did so on."""
    folder = tmp_path_factory.mktemp("neighbours")
    general = sentences(ANIMALS, PLACES, 300)
    train(general, 330, folder / "base")
    domain = sentences((*ANIMALS, "okapi"), (*PLACES, "igloo"), 1500)
    extend(folder / "base", domain, general, 40, 1.0, folder / "extended")
    (folder / "text.txt").write_text("\n".join(domain))
    return folder


def test_a_new_token_is_like_those_used_alike(extended: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # 60,000 tokens are little to learn from: they are read more often than a real text is.
    monkeypatch.setattr("tokenization.neighbours.EPOCHS", 30)
    names, base = Pretokens(extended / "extended").names, len(Pretokens(extended / "base").names)
    ids = {name.removeprefix("Ġ"): index for index, name in names.items() if name.startswith("Ġ")}
    assert ids["okapi"] >= base and ids["igloo"] >= base and ids["cat"] < base and ids["mat"] < base
    new = [index for index in names if index >= base]
    found, size = neighbours([extended / "text.txt"], extended / "extended", base, new)
    assert size == (extended / "text.txt").stat().st_size
    for token, like, unlike in (("okapi", ANIMALS, PLACES), ("igloo", PLACES, ANIMALS)):
        weights = dict(zip(*(part.tolist() for part in found[ids[token]]), strict=True))
        assert sum(weights.values()) == pytest.approx(1) and min(weights.values()) > 0 and max(weights) < base
        alike, other = (sum(weights.get(ids[one], 0.0) for one in some) for some in (like, unlike))
        assert alike > max(0.25, other)
        heaviest = max((weights.get(ids[one], 0.0), one) for one in (*ANIMALS, *PLACES))
        assert heaviest[1] in like


def test_the_same_text_gives_the_same_rows(extended: Path) -> None:
    base = len(Pretokens(extended / "base").names)
    new = [index for index in Pretokens(extended / "extended").names if index >= base]
    found, _ = neighbours([extended / "text.txt"], extended / "extended", base, new)
    again, _ = neighbours([extended / "text.txt"], extended / "extended", base, new)
    assert found.keys() == again.keys()
    for index, (ids_found, weights_found) in found.items():
        assert np.array_equal(ids_found, again[index][0]) and np.array_equal(weights_found, again[index][1])


def test_rare_tokens_are_left_out_and_too_little_text_is_refused(extended: Path, tmp_path: Path) -> None:
    names = Pretokens(extended / "extended").names
    ids = {name: index for index, name in names.items()}
    okapi, igloo, base = ids["Ġokapi"], ids["Ġigloo"], len(Pretokens(extended / "base").names)
    text = tmp_path / "text.txt"
    text.write_text("\n".join(["The okapi sat and ate."] * MIN_COUNT + ["They built an igloo."] * (MIN_COUNT - 1)))
    found, _ = neighbours([text], extended / "extended", base, [okapi, igloo])
    assert set(found) == {okapi}
    text.write_text("The okapi sat and ate.")
    with pytest.raises(ValueError, match=f"no new token stands {MIN_COUNT} times in its 22 bytes"):
        neighbours([text], extended / "extended", base, [okapi, igloo])


def test_of_much_text_documents_all_over_it_are_read(
    extended: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenization.neighbours.LEARNED_ON", 40_000)
    files = []
    for number in range(3):
        files.append(tmp_path / f"{number}.jsonl")
        lines = sentences((*ANIMALS, "okapi"), PLACES, 300 + number)
        files[-1].write_text("".join(f'{{"text": "{line}"}}\n' for line in lines))
    total = sum(file.stat().st_size for file in files)
    okapi = next(index for index, name in Pretokens(extended / "extended").names.items() if name == "Ġokapi")
    _, size = neighbours(files, extended / "extended", okapi, [okapi])
    assert total > 100_000 and 25_000 < size < 45_000


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 8)), elements=st.floats(-1, 1)))
def test_sparsemax_is_the_projection_on_the_simplex(scores: np.ndarray) -> None:
    weights = sparsemax(scores)
    assert (weights >= 0).all() and np.allclose(weights.sum(axis=1), 1)
    for row, one in zip(scores, weights, strict=True):
        # What defines the projection: score - weight is the same wherever the weight is not 0, and no smaller there.
        gap = row - one
        level = gap[one > 0].mean()
        assert np.allclose(gap[one > 0], level, atol=1e-9) and (row[one == 0] <= level + 1e-9).all()
