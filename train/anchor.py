"""Penalties that hold the weights near the base's: elastic weight consolidation and L2-SP.

    EWC     ewc / 2 * sum of F_i (theta_i - base_i)^2      Kirkpatrick et al. 2017, arXiv 1612.00796, equation 3
    L2-SP   l2_sp / 2 * sum of (theta_i - base_i)^2        Li, Grandvalet and Davoine 2018, arXiv 1802.01483, equation 3

They are added to the mean loss of a token, as gradients of the local shards before clipping, so AdamW scales them as it
scales the loss's. The base's weights come from the base's folder and F from the base on replay text (train/fisher.py),
never from resumed weights. Rows of new tokens are held by neither: the base does not know them. Neither are frozen
weights.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

import train.platform  # noqa: F401  (before torchtitan)
from curate.files import identity, read_json
from train import fisher, model
from train.extension import Extension
from train.groups import WITH_TOKEN_ROWS, frozen, local, local_rows, parameters, sizes
from train.settings import Settings

# isort: split
from torch.distributed.tensor import DTensor

if TYPE_CHECKING:
    from train.trainer import ContinuedTrainer

FOLDER = "anchor"
"""Folder of a training run with the Fisher information of its base."""
_FISHER_DEPENDS_ON = (
    "model",
    "model files",
    "tokenizer.json",
    "tokenizer.new_rows",
    "mixture.json",
    "train.dtype",
    "train.ewc_sequences",
    "train.freeze",
)
"""Keys of a training run's config.json."""


class Anchor(Extension):
    """Both penalties; `penalty` in metrics.jsonl is their sum in nats at the weights the step began with.

    The decision {"event": "ewc", "strength": x} changes EWC's strength from the next step on; 0 turns it off. If it was
    off from the start, F is estimated then, from the base. F stays in memory from there on: a run that is rolled back
    may need it again.
    """

    name = "anchor"

    def __init__(self, settings: Settings):
        keys = settings.pipeline.train
        self._settings, self._new_rows = settings, settings.new_rows
        self._ewc, self._l2_sp = keys.ewc, keys.l2_sp
        self._base: fisher.Tensors = {}
        self._fisher: fisher.Tensors = {}
        self._penalty: float | None = None

    def begin(self, trainer: "ContinuedTrainer") -> None:
        """Have the base's weights, and F, before the first step."""
        self._prepare(trainer)

    def apply(self, trainer: "ContinuedTrainer", event: dict[str, Any]) -> None:
        """Take over another strength of EWC."""
        if event["event"] == "ewc":
            self._ewc = float(event["strength"])
            self._prepare(trainer)

    @torch.no_grad()
    def add_gradients(self, trainer: "ContinuedTrainer") -> None:
        """Add (ewc * F + l2_sp) * (theta - base)."""
        self._penalty = None
        if not self._ewc and not self._l2_sp:
            return
        total = torch.zeros((), dtype=torch.float64, device=trainer.device)
        for name, parameter in parameters(trainer.model_parts):
            assert parameter.grad is not None
            gap = local(parameter) - self._base[name]
            if name in WITH_TOKEN_ROWS:
                gap[local_rows(parameter, self._new_rows)] = 0
            pull = gap * self._l2_sp
            if self._ewc:
                pull.addcmul_(local(self._fisher[name]), gap, value=self._ewc)
            local(parameter.grad).add_(pull)
            total += (pull * gap).sum(dtype=torch.float64) / (2 * _copies(trainer, parameter))
        if dist.get_world_size() > 1:
            dist.all_reduce(total)
        self._penalty = float(total)

    def finish_step(self, trainer: "ContinuedTrainer", figures: dict[str, Any]) -> None:
        """Write down the penalty."""
        if self._penalty is not None:
            figures["penalty"] = self._penalty

    def state_dict(self) -> dict[str, Any]:
        """EWC's strength: decisions may have changed it."""
        return {"ewc": self._ewc}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take in the strength; what it needs was made ready when it was first above 0."""
        self._ewc = state["ewc"]

    def _prepare(self, trainer: "ContinuedTrainer") -> None:
        """Get what the strengths need and is not there yet."""
        needs_fisher = bool(self._ewc) and not self._fisher
        if not needs_fisher and (self._base or not self._l2_sp):
            return
        check(self._settings, self._ewc)
        weights = self._settings.weights
        assert weights is not None
        if trainer.parallel_dims.pp_enabled and needs_fisher:
            raise ValueError(
                "train.ewc: the Fisher information takes gradients of one sequence at a time, which pipeline stages "
                "cannot. Use FSDP and tensor parallelism, or train.l2_sp."
            )
        folder = self._settings.folder / FOLDER
        if needs_fisher:
            self._fisher = fisher.load(trainer, folder, self._identity()) or {}
        with fisher.base_weights(trainer, weights):
            if self._ewc and not self._fisher:
                plan, count = self._settings.plan, self._settings.pipeline.train.ewc_sequences
                packed = self._settings.pipeline.folder / "packed"
                self._fisher = fisher.estimate(trainer, fisher.replay_sequences(plan, packed, count))
                fisher.save(self._fisher, folder, self._identity())
            self._base = {name: local(one.detach()).clone() for name, one in parameters(trainer.model_parts)}

    def _identity(self) -> str:
        """Stands for what F was estimated from."""
        made_with = read_json(self._settings.folder / "config.json")
        return identity({key: made_with[key] for key in _FISHER_DEPENDS_ON})


def check(settings: Settings, ewc: float) -> None:
    """Raises ValueError naming the key where there is no base to hold to, or no replay text for `ewc`."""
    train = settings.pipeline.train
    key = "train.ewc" if train.ewc else "eval.controller: ewc" if ewc else "train.l2_sp"
    if train.lora_rank:
        raise ValueError(
            f"{key}: holds weights near the base's, but with train.lora_rank those stand still already. Turn one of "
            "the two off."
        )
    if settings.weights is None:
        raise ValueError(
            f"{key}: holds the weights near the base's, but train.init is scratch, so they do not come from a base. "
            "Turn it off, or set train.init: base."
        )
    if ewc and not fisher.replay_rows(settings.plan):
        raise ValueError(
            f"{key}: the Fisher information is estimated on replay text, and the mixture has none. Give `replay` "
            "sources and run mix.build again (its share may be 0), or turn it off."
        )


def cost(settings: Settings, shards: int) -> str | None:
    """What the penalties take of each rank's memory, in words; None where both are off.

    `shards`: ranks that share one copy of the weights.
    """
    keys = settings.pipeline.train
    if not keys.ewc and not keys.l2_sp:
        return None
    numbers = sizes(model.specification(settings.architecture))
    weights = sum(numbers[name] for name in numbers.keys() - frozen(keys, list(numbers)))
    each = 8 if keys.ewc else 4
    what = "base weights and Fisher information" if keys.ewc else "base weights"
    text = f"{each * weights / shards / 2**20:,.1f} MiB a rank: {what}, {each} bytes x {weights:,} / {shards}"
    if keys.ewc:
        sequences = min(keys.ewc_sequences, fisher.replay_rows(settings.plan))
        text += f"; estimated on {sequences} replay sequences"
    return text


def _copies(trainer: "ContinuedTrainer", parameter: torch.Tensor) -> int:
    """Ranks that hold the same shard of a parameter."""
    shards = 1
    if isinstance(parameter, DTensor):
        sizes_and_placements = zip(parameter.device_mesh.shape, parameter.placements, strict=True)
        shards = math.prod(size for size, placement in sizes_and_placements if not placement.is_replicate())
    return dist.get_world_size() // trainer.parallel_dims.pp // shards
