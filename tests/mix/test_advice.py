"""Advice names what is unusual and where that is from, for every step of a schedule; an ordinary plan gets none."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from mix.advice import Facts, advice, count_parameters
from mix.plan import Plan, Pool, Source
from mix.schedule import Knot, Shares

ORDINARY = Facts(parameters=7_000_000_000, new_tokens=500, min_domain_tokens=1_000_000_000, fertility=2.3)
BATCH = 10


def make_plan(domain: dict[int, str], tokens: int = 2_000_000_000, rows: tuple[int, int] = (1000, 1000)) -> Plan:
    """A source a pool; `domain` is the domain pool's share by step, `tokens` are those of the domain pool."""
    knots = []
    for step, written in domain.items():
        part = Fraction(written)
        knots.append(Knot(step, Shares((part, 1 - part), ((1,), (1,)))))
    sources = Source("notes", rows[0], tokens, 1, 0, ()), Source("web", rows[1], 9, 1, 0, ())
    shares = knots[0].shares.pools
    pools = tuple(
        Pool(name, share, (source,)) for name, share, source in zip(("domain", "replay"), shares, sources, strict=True)
    )
    return Plan(0, 64, "tokenizer", 400, pools, tuple(knots), BATCH)


def test_an_ordinary_plan_gets_none() -> None:
    assert advice(make_plan({0: "0.8"}), 100, BATCH, ORDINARY) == []
    assert advice(make_plan({0: "0.6", 50: "0.9"}), 100, BATCH, ORDINARY) == []


@pytest.mark.parametrize(
    ("domain", "said"),
    [
        ({0: "0.5", 50: "0.8"}, ["domain pool's share is 50 % at step 0, below 60 %"]),
        ({0: "0.8", 50: "0.95"}, ["domain pool's share is 95 % at step 50, above 90 %"]),
        (
            {0: "0.7", 50: "0.98"},
            ["domain pool's share is 98 % at step 50, above 90 %", "replay pool's share is 2 % at step 50, below the"],
        ),
        ({0: "0.8", 100: "1"}, ["at step 99, above 90 %", "replay pool's share is 0.2 % at step 99"]),
        ({0: "0.8", 150: "0.8", 200: "1"}, []),
    ],
)
def test_shares_of_any_step_of_the_budget_count(domain: dict[int, str], said: list[str]) -> None:
    found = advice(make_plan(domain), 100, BATCH, ORDINARY)
    assert len(found) == len(said)
    for sentence, part in zip(found, said, strict=True):
        assert part in sentence and "arXiv 2403.08763" in sentence


def test_more_than_four_epochs_name_the_source() -> None:
    assert advice(make_plan({0: "0.8"}, rows=(200, 1000)), 100, BATCH, ORDINARY) == []
    (sentence,) = advice(make_plan({0: "0.8"}, rows=(160, 1000)), 100, BATCH, ORDINARY)
    assert "domain/notes 5.0 times" in sentence and "arXiv 2305.16264" in sentence


@pytest.mark.parametrize(("parameters", "said"), [(7_000_000_000, True), (999_999_999, False), (None, False)])
def test_little_domain_text_for_a_large_model(parameters: int | None, said: bool) -> None:
    facts = Facts(parameters, 0, 0, None)
    found = advice(make_plan({0: "0.8"}, tokens=20_000_000), 100, BATCH, facts)
    assert len(found) == said
    assert not said or ("20M tokens, fewer than 1B, for a model of 7B" in found[0] and "LoRA" in found[0])


@pytest.mark.parametrize(
    ("new_tokens", "least", "said"), [(500, 1_000_000_000, True), (500, 10_000_000, False), (0, 1_000_000_000, False)]
)
def test_a_vocabulary_extended_on_little_text(new_tokens: int, least: int, said: bool) -> None:
    found = advice(make_plan({0: "0.8"}, tokens=20_000_000), 100, BATCH, Facts(2_000_000, new_tokens, least, 2.3))
    assert len(found) == said
    assert not said or ("extended by 500 tokens (2.30 tokens per domain word" in found[0] and "2401.01055" in found[0])


def test_parameters_are_counted_from_headers(tmp_path: Path) -> None:
    assert count_parameters(tmp_path / "no" / "folder") is None
    config = {
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "vocab_size": 10,
        "intermediate_size": 16,
        "tie_word_embeddings": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert count_parameters(tmp_path) == 2 * (4 * 64 + 3 * 8 * 16) + 80
    save_file({"a": np.zeros((3, 5), np.float16)}, tmp_path / "model-00001-of-00002.safetensors", {"format": "pt"})
    save_file({"b": np.zeros(7, np.float32)}, tmp_path / "model-00002-of-00002.safetensors")
    assert count_parameters(tmp_path) == 22
