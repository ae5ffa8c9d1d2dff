"""The model that is trained is the Hugging Face model, and no document of a packed row sees another."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from tests.train import small
from train import architecture, model
from train.attention import DocumentAttention
from train.loss import PoolLoss, token_nats

# isort: split
from torchtitan.models.common.attention import create_varlen_metadata_for_document

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


def built(folder: Path) -> tuple[Any, Any]:
    """The model in a folder as the trainer builds it, and as transformers does."""
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    specification = model.specification(architecture.read(folder))
    ours = specification.model.build()
    ours.init_states()
    adapter = specification.state_dict_adapter(specification.model, "")
    ours.load_state_dict(adapter.from_hf(dict(reference.state_dict())))
    return ours, reference


def largest_difference(folder: Path, length: int) -> float:
    """Between the logits of ours and transformers' on a row of `length` made-up tokens and a row of as many others."""
    ours, reference = built(folder)
    assert architecture.read(folder).parameters == sum(parameter.numel() for parameter in reference.parameters())
    tokens = torch.randint(0, reference.config.vocab_size, (2, length), generator=torch.Generator().manual_seed(1))
    positions = torch.arange(length).expand(2, -1)
    with torch.no_grad():
        logits = ours(tokens, positions=positions, attention_masks=ours.get_attention_masks(positions=positions))
        return float((logits - reference(tokens).logits).abs().max())


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("llama", {"rope_parameters": LLAMA3_ROPE}),
        ("llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}),
        ("llama", {"head_dim": 12, "num_key_value_heads": 1, "vocab_size": 323}),
        ("mistral", {"sliding_window": None}),
        ("mistral", {"sliding_window": None, "rope_parameters": LLAMA3_ROPE}),
        ("mistral", {"sliding_window": 48, "head_dim": 12, "vocab_size": 321}),
        ("qwen3", {}),
        ("qwen3", {"head_dim": 16, "vocab_size": 321}),
    ],
)
def test_logits_equal_those_of_transformers(tmp_path: Path, kind: str, tied: bool, changes: dict[str, Any]) -> None:
    folder = small.make_model(tmp_path, kind, **{"tie_word_embeddings": tied} | changes)
    assert largest_difference(folder, 48) < 2e-5


@pytest.mark.parametrize("kind", ["llama", "mistral", "qwen3"])
def test_long_rows_have_the_logits_of_transformers(tmp_path: Path, kind: str) -> None:
    """Llama 3.1's scaling by 8 at eight times the context that it scales, which each of its three bands reaches."""
    rope = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    rope |= {"original_max_position_embeddings": 256}
    changes: dict[str, Any] = {} if kind == "qwen3" else {"rope_parameters": rope}
    folder = small.make_model(tmp_path, kind, head_dim=32, max_position_embeddings=2048, **changes)
    assert largest_difference(folder, 2048) < 1e-4


def test_a_window_shorter_than_the_row_would_make_a_difference(tmp_path: Path) -> None:
    """Why such rows are refused (architecture.check_length)."""
    assert largest_difference(small.make_model(tmp_path, "mistral", sliding_window=40), 48) > 1e-3


def test_a_packed_row_gives_each_document_the_logits_it_has_alone(tmp_path: Path) -> None:
    ours, reference = built(small.make_model(tmp_path))
    generator = torch.Generator().manual_seed(2)
    lengths = [[20, 1, 27], [48], [7, 41]]
    rows = [[torch.randint(0, small.VOCABULARY, (n,), generator=generator) for n in row] for row in lengths]
    tokens = torch.stack([torch.cat(row) for row in rows])
    positions = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in lengths])
    with torch.no_grad():
        packed = ours(tokens, positions=positions, attention_masks=ours.get_attention_masks(positions=positions))
        for row, documents in enumerate(rows):
            alone = torch.cat([reference(document[None]).logits[0] for document in documents])
            torch.testing.assert_close(packed[row], alone, rtol=0, atol=2e-5)


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (6, 1)])
def test_attention_and_its_gradients_equal_a_masked_computation(heads: int, kv_heads: int) -> None:
    generator = torch.Generator().manual_seed(3)
    shapes = [(2, 30, heads, 8), (2, 30, kv_heads, 8), (2, 30, kv_heads, 8)]
    ours = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    theirs = [tensor.detach().double().requires_grad_() for tensor in ours]
    positions = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in ([11, 1, 18], [30])])
    out = DocumentAttention.Config().build()(*ours, attention_masks=create_varlen_metadata_for_document(positions))

    document = (positions == 0).cumsum(1)
    mask = (document[:, None, :, None] == document[:, None, None, :]) & torch.ones(30, 30, dtype=torch.bool).tril()
    q, k, v = (tensor.transpose(1, 2) for tensor in theirs)
    k, v = (tensor.repeat_interleave(heads // kv_heads, 1) for tensor in (k, v))
    scores = (q @ k.transpose(2, 3) / 8**0.5).masked_fill(~mask, -torch.inf)
    expected = (scores.softmax(-1) @ v).transpose(1, 2)

    weights = torch.randn(out.shape, generator=generator)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(out, expected.float())
    for one, other in zip(ours, theirs, strict=True):
        assert one.grad is not None and other.grad is not None
        torch.testing.assert_close(one.grad, other.grad.float())


def test_random_weights_do_not_depend_on_the_number_of_ranks() -> None:
    def parts(world: int, rank: int) -> torch.Tensor:
        """What `rank` holds of a matrix [10, 3] and then of one [4, 4], drawn one after the other."""
        dist.init_process_group("fake", rank=rank, world_size=world)
        try:
            torch.manual_seed(6)
            mesh = init_device_mesh("cpu", (world,))
            shards = [distribute_tensor(torch.zeros(shape), mesh, [Shard(0)]) for shape in ((10, 3), (4, 4))]
            for shard in shards:
                model.random_weights(shard, std=0.5)
            return torch.cat([shard.to_local().flatten() for shard in shards])
        finally:
            dist.destroy_process_group()

    whole = parts(1, 0)
    first, second = whole[:30].view(10, 3), whole[30:].view(4, 4)
    for rank in range(2):
        expected = torch.cat([first.chunk(2)[rank].flatten(), second.chunk(2)[rank].flatten()])
        assert torch.equal(parts(2, rank), expected)
    assert whole.abs().max() <= 1 and 0.3 < whole.std() < 0.6


def test_token_nats_and_their_gradient_are_those_of_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(3, 5, 40, generator=generator) * 20  # peaked: some labels have a probability of zero in fp32
    labels = torch.randint(0, 40, (3, 5), generator=generator)
    labels[0, 2:] = -100
    weights = torch.randn(3, 5, generator=generator)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    nats = token_nats(ours, labels)
    expected = F.cross_entropy(theirs.flatten(0, 1), labels.flatten(), reduction="none").view(3, 5)
    torch.testing.assert_close(nats, expected)
    (nats * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_loss_keeps_pools_apart() -> None:
    loss = PoolLoss.Config(pools=2).build()
    generator = torch.Generator().manual_seed(5)
    logits, labels = torch.randn(4, 6, 10, generator=generator), torch.randint(0, 10, (4, 6), generator=generator)
    labels[3, 1:] = -100
    pools = torch.tensor([0, 1, 0, 1])
    loss.begin(pools)
    total, _ = loss(logits, labels, torch.tensor(19.0))
    nats = token_nats(logits, labels).sum(1)
    torch.testing.assert_close(total, nats.sum() / 19)
    sums = loss.take()
    assert sums[1:].tolist() == [[12, 7], [2, 2]]
    torch.testing.assert_close(sums[0].float(), torch.stack([nats[pools == 0].sum(), nats[pools == 1].sum()]))
    assert loss.take().eq(0).all()
