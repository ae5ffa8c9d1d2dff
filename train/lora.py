"""LoRA and DoRA: the base's weights stand still, small matrices beside them learn.

LoRA (Hu et al. 2021, arXiv 2106.09685): a projection W x becomes W x + scale * B A x. A starts random and B at zero,
so the run starts as the base. DoRA (Liu et al. 2024, arXiv 2402.09353) also scales each row of W + scale * B A to a
learned length, which starts as that of W's row; the length it has is a constant to the gradient (section 4.3).

An extended vocabulary must learn the rows of its new tokens, which no adapter gives it: they are trained whole, as
parameters of their own (`new_rows`, one for both ends of a tied model), so that neither gradients nor optimizer state
are kept for the base's rows.

torchtitan's LoRA does the freezing and the adapters. What is added: DoRA, new rows, adapters on any of the projections
(torchtitan's take the fused queries, keys and values as one), and random numbers that no world size enters. Adapters in
checkpoints and exports are in train/adapters.py.
"""

import dataclasses
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

import train.platform  # noqa: F401  (before torchtitan)
from train.adapters import MODULES, loading
from train.architecture import Architecture
from train.keys.lora import LoraKeys

# isort: split
from torch.distributed.tensor import DTensor, distribute_tensor
from torchtitan.components.lora import LoRAConverter, _get_lora_cls
from torchtitan.models.common import Embedding, Linear
from torchtitan.models.common.attention import QKVLinear
from torchtitan.protocols.model_spec import ModelSpec
from torchtitan.protocols.module import Module


def adapted(spec: ModelSpec, keys: LoraKeys, rows: range) -> ModelSpec:
    """`spec` with the adapters that the keys ask for, the embedding's `rows` trained whole; as it is at lora_rank 0."""
    if not keys.lora_rank:
        return spec
    names = [_config_name(module) for module in keys.lora_modules]
    converter = Adapters.Config(
        rank=keys.lora_rank, alpha=keys.lora_scale * keys.lora_rank, target_modules=names, dora=keys.dora, rows=rows
    ).build()
    adapter = loading(spec.state_dict_adapter, rows, keys.lora_modules if keys.dora else [])
    return dataclasses.replace(spec, model=converter.convert(spec.model), state_dict_adapter=adapter)


def trained_parameters(a: Architecture, keys: LoraKeys, new_tokens: int) -> int:
    """Number of parameters that learn."""
    if not keys.lora_rank:
        return a.parameters
    queries, pairs = a.heads * a.head_dim, a.kv_heads * a.head_dim
    shapes = {"q_proj": (a.dim, queries), "k_proj": (a.dim, pairs), "v_proj": (a.dim, pairs)}
    shapes |= {"o_proj": (queries, a.dim), "down_proj": (a.hidden, a.dim)}
    shapes |= {"gate_proj": (a.dim, a.hidden), "up_proj": (a.dim, a.hidden)}
    layer = sum(
        keys.lora_rank * sum(shapes[module]) + (shapes[module][1] if keys.dora else 0) for module in keys.lora_modules
    )
    return a.layers * layer + new_tokens * a.dim * (1 if a.tied else 2)


def _config_name(module: str) -> str:
    """The name torchtitan's configuration has for a projection: keys and values share one, values got their own."""
    name = MODULES[module].rsplit(".", 1)[-1]
    return "wkv" if name == "wk" else name


class Adapters(LoRAConverter):
    """torchtitan's converter of a model's configuration, with DoRA and new rows."""

    @dataclass(kw_only=True, slots=True)
    class Config(LoRAConverter.Config):
        """Keys as torchtitan's, and two more."""

        dora: bool = False
        rows: range = range(0)
        """Embedding rows that are trained whole."""

    config: Config

    def convert(self, model_config: Module.Config) -> Module.Config:
        """Freeze all, put adapters beside the chosen projections and new rows beside the embeddings."""
        model: Any = model_config
        for layer in model.layers:
            layer.attention.qkv_linear = _separate(layer.attention.qkv_linear)
        if self.config.rows:
            model = _having_new_rows(model._owner).Config(**_fields(model))
        ends = model.tok_embeddings, model.lm_head
        model = super().convert(model)
        if self.config.rows:
            model.tok_embeddings = NewRowsEmbedding.Config(**_with_rows(ends[0], self.config.rows))
            model.lm_head = NewRowsHead.Config(**_with_rows(ends[1], self.config.rows))
        return model

    def _make_lora_config(self, cfg: Any) -> Any:
        values = _fields(cfg)
        if self.config.dora:
            values["param_init"] = {**values["param_init"], "magnitude": nn.init.ones_}
        return _adapted_class(cfg._owner, self.config.dora).Config(**values, rank=self.rank, alpha=self.alpha)


class SeparateQKV(QKVLinear):
    """Queries, keys and values as three projections, each with or without adapters."""

    @dataclass(kw_only=True, slots=True)
    class Config(QKVLinear.Config):
        """`wkv` is that of the keys."""

        wv: Linear.Config

    def __init__(self, config: Config):
        super().__init__(config)
        self.wv = dataclasses.replace(config.wv, sharding_config=config.wkv.sharding_config).build()


def _begin_new_rows(weight: nn.Parameter, config: Any) -> tuple[int, nn.Parameter]:
    """Number of the first new row, and the new rows, which learn; `weight` [V, D] does not."""
    weight.requires_grad_(False)
    return config.first, nn.Parameter(torch.empty(config.count, weight.shape[1]))


class NewRowsEmbedding(Embedding):
    """An embedding of which only the rows from `first` on learn, as many as `count`."""

    @dataclass(kw_only=True, slots=True)
    class Config(Embedding.Config):
        """Keys as torchtitan's, and the rows."""

        first: int
        count: int

    def __init__(self, config: Config):
        super().__init__(config)
        self.first, self.new_rows = _begin_new_rows(self.weight, config)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Ids [B, L] to rows [B, L, D]; what `weight` holds in the place of new rows is not used."""
        number = input - self.first
        count = len(self.new_rows)
        new = F.embedding(number.clamp(0, count - 1), self.new_rows)
        return torch.where(((number >= 0) & (number < count)).unsqueeze(-1), new, super().forward(input))


class NewRowsHead(Linear):
    """An output layer of which only the rows from `first` on learn, as many as `count`."""

    @dataclass(kw_only=True, slots=True)
    class Config(Linear.Config):
        """Keys as torchtitan's, and the rows."""

        first: int
        count: int

    def __init__(self, config: Config):
        super().__init__(config)
        self.first, self.new_rows = _begin_new_rows(self.weight, config)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Hidden states [..., D] to logits [..., V]."""
        end = self.first + len(self.new_rows)
        weights = self.weight[: self.first], self.new_rows, self.weight[end:]
        return torch.cat([F.linear(input, weight) for weight in weights], -1)


@cache
def _having_new_rows(parent: Any) -> Any:
    """The model class `parent`, with one set of new rows where embedding and output layer are tied."""

    class WithNewRows(parent):
        @dataclass(kw_only=True, slots=True)
        class Config(parent.Config):
            """Keys as torchtitan's."""

        def __init__(self, config: Any):
            super().__init__(config)
            self._tie_new_rows()

        def init_states(self, **options: Any) -> None:
            self._tie_new_rows()  # as torchtitan ties the weights again: moving from the meta device undoes it
            super().init_states(**options)

        def _tie_new_rows(self) -> None:
            if self.enable_weight_tying:
                self.tok_embeddings.new_rows = self.lm_head.new_rows

    return WithNewRows


@cache
def _adapted_class(parent: Any, dora: bool) -> Any:
    """torchtitan's LoRA class of a linear layer, or the DoRA class made of it."""
    lora = _get_lora_cls(parent)

    class Adapted(lora):  # type: ignore[misc,valid-type]
        @dataclass(kw_only=True, slots=True)
        class Config(lora.Config):  # type: ignore[misc,name-defined]
            """Keys as torchtitan's."""

        def __init__(self, config: Any):
            super().__init__(config)
            self.lora_a._param_init = {"weight": _uniform}

    class Dora(Adapted):
        @dataclass(kw_only=True, slots=True)
        class Config(Adapted.Config):
            """Keys as torchtitan's."""

        def __init__(self, config: Any):
            super().__init__(config)
            self.magnitude = nn.Parameter(torch.empty(config.out_features))

        def forward(self, input: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                change = self.lora_b.weight.float() @ self.lora_a.weight.float()
                lengths = torch.linalg.vector_norm(self.weight.float() + self._lora_scaling * change, dim=1)
            output = super().forward(input)
            return output * (self.magnitude.float() / lengths).to(output.dtype)

    return Dora if dora else Adapted


def _separate(qkv: Any) -> Any:
    """A fused projection's configuration as three. Their weights always come from a base or a checkpoint."""
    assert not qkv.wqkv.bias, "no supported architecture has one"
    one = Linear.Config(
        in_features=qkv.wqkv.in_features,
        out_features=qkv.head_dim * qkv.n_kv_heads,
        param_init={"weight": nn.init.zeros_},
    )
    queries = dataclasses.replace(one, out_features=qkv.head_dim * qkv.n_heads)
    return SeparateQKV.Config(head_dim=qkv.head_dim, wq=queries, wkv=one, wv=dataclasses.replace(one))


def _with_rows(config: Any, rows: range) -> dict[str, Any]:
    values = _fields(config)
    values["param_init"] = {**values["param_init"], "new_rows": nn.init.zeros_}
    return values | {"first": rows.start, "count": len(rows)}


def _fields(config: Any) -> dict[str, Any]:
    return {one.name: getattr(config, one.name) for one in dataclasses.fields(config) if one.init}


@torch.no_grad()
def _uniform(weight: torch.Tensor) -> None:
    """Fill A [r, in] as torchtitan and PEFT do, the same whatever the number of ranks."""
    whole = torch.empty(weight.shape, dtype=weight.dtype, device=weight.device)
    nn.init.kaiming_uniform_(whole, a=math.sqrt(5))
    if isinstance(weight, DTensor):
        whole = distribute_tensor(whole, weight.device_mesh, weight.placements, src_data_rank=None)
    weight.copy_(whole)
