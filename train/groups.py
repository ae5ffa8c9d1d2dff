"""Which weights are trained, at which learning rate and weight decay.

Tensors are known by torchtitan's names; users name groups of them (`KINDS`, layers.0-3) or give a pattern.

Weight decay is for the matrices of the layers. Norms and biases get none, and neither do the tensors with a row a
token, input embedding and output head: a row whose token is rare in the new text would be drawn to zero with little to
hold it. OLMo 2 (arXiv 2501.00656) leaves it out for embeddings, because small ones make training unstable; nanochat for
both.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, cast

import torch
from torch import nn

import train.platform  # noqa: F401  (before torchtitan)
from train.keys.methods import MethodKeys

# isort: split
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset
from torchtitan.components.checkpointer.utils import canonical_fqn
from torchtitan.components.optimizer import OptimizersContainer, ParamGroupConfig
from torchtitan.protocols.model_spec import ModelSpec

KINDS = {
    "embeddings": r"^tok_embeddings\.",
    "head": r"^lm_head\.",
    "norms": r"norm\.weight$",
    "attention": r"^layers\.\d+\.attention\.(?!.*norm\.weight$)",
    "mlp": r"^layers\.\d+\.feed_forward\.",
}
"""Name for users -> names of its tensors. A tied output head is the embedding."""
WITH_TOKEN_ROWS = ("tok_embeddings.weight", "lm_head.weight")
"""Tensors whose rows belong to tokens."""
_WITHOUT_DECAY = (KINDS["embeddings"], KINDS["head"], KINDS["norms"], r"\.bias$", r"\.new_rows$")
_BETAS, _EPSILON = (0.9, 0.95), 1e-8


def optimizer(names: list[str], keys: MethodKeys, peak: float, weight_decay: float) -> "Optimizers.Config":
    """AdamW for the tensors `names` (`sizes`), a parameter group for each learning rate and weight decay.

    The first group has a multiplier of 1 where any has: its rate is the one in metrics.jsonl.

    Raises ValueError naming the key that means no tensor, or that leaves nothing to train.
    """
    fixed = frozen(keys, names)
    if fixed.issuperset(names):
        raise ValueError(
            f"train.freeze: {', '.join(keys.freeze)} are all weights there are, so nothing would be learned. "
            "Leave one of them out."
        )
    multipliers = dict.fromkeys(names, 1.0)
    for one, multiplier in keys.lr_groups.items():
        found = find("lr_groups", one, names)
        if fixed.issuperset(found):
            raise ValueError(
                f"train.lr_groups: {one} is frozen by train.freeze, so it has no learning rate. Take it out of one of "
                "the two."
            )
        multipliers |= {name: multipliers[name] * multiplier for name in found}
    groups: dict[tuple[float, float], list[str]] = defaultdict(list)
    for name in names:
        if name not in fixed:
            decay = 0.0 if any(re.search(pattern, name) for pattern in _WITHOUT_DECAY) else weight_decay
            groups[multipliers[name], decay].append(name)
    ordered = sorted(groups.items(), key=lambda item: (item[0][0] != 1, -item[0][0], -item[0][1]))
    return Optimizers.Config(
        frozen=sorted(fixed),
        param_groups=[
            ParamGroupConfig(
                pattern=_exactly(members),
                optimizer_name="AdamW",
                optimizer_kwargs={
                    "lr": peak * multiplier,
                    "betas": _BETAS,
                    "eps": _EPSILON,
                    "weight_decay": decay,
                },
            )
            for (multiplier, decay), members in ordered
        ],
    )


def sizes(specification: ModelSpec) -> dict[str, int]:
    """Tensor -> numbers in it, for those that a model's specification lets be trained; takes no memory for them."""
    with torch.device("meta"):
        model = cast(nn.Module, specification.model.build())
    return {name: one.numel() for name, one in model.named_parameters() if one.requires_grad}


def frozen(keys: MethodKeys, names: list[str]) -> set[str]:
    """The tensors that `freeze` means."""
    return {name for group in keys.freeze for name in find("freeze", group, names)}


def find(key: str, group: str, names: list[str]) -> list[str]:
    """The tensors that a user's name or pattern means. Raises ValueError naming `key` where there is none."""
    layers = re.fullmatch(r"layers\.(\d+)(?:-(\d+))?", group)
    if layers:
        wanted = range(int(layers[1]), int(layers[2] or layers[1]) + 1)
        found = [name for name in names if (layer := _layer(name)) is not None and layer in wanted]
        if not {_layer(name) for name in found}.issuperset(wanted):
            found = []
    elif group in KINDS:
        found = [name for name in names if re.search(KINDS[group], name)]
    else:
        found = [name for name in names if fnmatchcase(name, group)]
    if not found:
        raise ValueError(
            f"train.{key}: {group!r} means no weights of this model that are trained. {_choices(group, names)}"
        )
    return found


def parameters(model_parts: list[nn.Module]) -> Iterator[tuple[str, nn.Parameter]]:
    """The trained parameters of this rank by their names, a tied one once."""
    for part in model_parts:
        for name, parameter in part.named_parameters():
            if parameter.requires_grad:
                yield canonical_fqn(name), parameter


def local(tensor: torch.Tensor) -> torch.Tensor:
    """This rank's shard of a tensor, itself and no copy."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def local_rows(tensor: torch.Tensor, rows: range) -> slice:
    """Where the rows `rows` of a tensor stand in this rank's shard of it; empty where they are all in others."""
    start, count = 0, tensor.shape[0]
    if isinstance(tensor, DTensor):
        shape, offset = compute_local_shape_and_global_offset(tensor.shape, tensor.device_mesh, tensor.placements)
        start, count = offset[0], shape[0]
    first, last = (min(max(row - start, 0), count) for row in (rows.start, rows.stop))
    return slice(first, last)


class Optimizers(OptimizersContainer):
    """torchtitan's optimizers, over the parameters that are not frozen."""

    @dataclass(kw_only=True, slots=True)
    class Config(OptimizersContainer.Config):
        """torchtitan's keys and what is frozen."""

        frozen: list[str]
        """Names of the tensors that are not trained."""

        def build(self, *, model_parts: list[nn.Module], **_: Any) -> "Optimizers":
            """Freeze, then make the optimizers of the rest."""
            for part in model_parts:
                for name, parameter in part.named_parameters():
                    if canonical_fqn(name) in self.frozen:
                        parameter.requires_grad_(False)
            return Optimizers(self, model_parts=model_parts)

    @staticmethod
    def _build_param_groups(
        model: nn.Module, param_group_configs: list[ParamGroupConfig], impl_kwargs: dict[str, Any]
    ) -> tuple[dict[str, list[dict[str, Any]]], dict[str, list[str]]]:
        """A stage of a pipeline has not the tensors of every group; torchtitan refuses a group without any."""
        names = [name for name, _ in model.named_parameters()]
        here = [group for group in param_group_configs if any(re.search(group.pattern, name) for name in names)]
        return OptimizersContainer._build_param_groups(model, here, impl_kwargs)


def _layer(name: str) -> int | None:
    found = re.match(r"layers\.(\d+)\.", name)
    return int(found[1]) if found else None


def _exactly(names: list[str]) -> str:
    """A pattern for these tensors, also where activation checkpointing puts a part of its own into their names."""
    parts = [re.escape(name).replace(r"\.", r"\.(?:_checkpoint_wrapped_module\.)?") for name in names]
    return f"^(?:{'|'.join(parts)})$"


def _choices(group: str, names: list[str]) -> str:
    if group == "head":
        return "Its output head is its embedding (tied weights): name embeddings."
    layers = max((layer for name in names if (layer := _layer(name)) is not None), default=0)
    kinds = [kind for kind, pattern in KINDS.items() if any(re.search(pattern, name) for name in names)]
    return (
        f"Name {', '.join(kinds)}, layers.0 to layers.{layers}, or a pattern of tensor names such as "
        f"{next((name for name in names if _layer(name) is not None), 'norm.weight')}."
    )
