"""A run's settings as torchtitan's configuration, and the processes brought together."""

import os
from dataclasses import dataclass
from typing import Any

import train.platform  # noqa: F401  (before torchtitan)
from eval import controller
from eval.benchmarks import files
from eval.tracks import Tracks
from train import anchor, flops, groups, loggers, lora, loss, model
from train.checkpoints import Checkpoints, Scores, async_mode
from train.data import POOLS, MixtureLoader
from train.extension import Extension
from train.health import Health
from train.keys.phases import learning_rate
from train.learning_rate import LearningRate
from train.settings import CHECKPOINTS, Settings
from train.step import Unlogged
from train.trainer import ContinuedTrainer
from train.unfreezing import unfreezing

# isort: split
from torchtitan.components.tokenizer import BaseTokenizer
from torchtitan.config import CommConfig, CompileConfig, DebugConfig, ParallelismConfig, TrainingConfig
from torchtitan.distributed import utils as dist_utils
from torchtitan.distributed.activation_checkpoint import FullAC, SelectiveAC
from torchtitan.observability import structured_logger
from torchtitan.tools import utils

CHECKPOINTING = {"none": None, "selective": SelectiveAC.Config(), "full": FullAC.Config()}
"""train.activation_checkpointing -> torchtitan's."""


def configure(settings: Settings) -> ContinuedTrainer.Config:
    """torchtitan's configuration of a run."""
    structured_logger.init_structured_logger("train", "", enable=False)
    train, weights = settings.pipeline.train, settings.weights
    evaluation = settings.pipeline.eval
    if train.pipeline_parallel > 1:  # torchtitan asks for the rank whose figures it would print; ours are on the first
        last = int(os.environ["WORLD_SIZE"]) * (train.pipeline_parallel - 1) // train.pipeline_parallel
        os.environ.setdefault("LOG_RANK", str(last))
    specification = model.specification(settings.architecture, train.float8)
    specification = lora.adapted(specification, train, settings.new_rows)
    names = list(groups.sizes(specification))
    return ContinuedTrainer.Config(
        run=str(settings.pipeline.folder),
        tracks=_tracks(settings),
        eval_characters=evaluation.characters,
        eval_documents=evaluation.documents if evaluation.held_out else 0,
        model_spec=specification,
        hf_assets_path="",
        dump_folder=str(settings.folder),
        loss=loss.chunked(len(POOLS), settings.plan.seq_len),
        tokenizer=NoTokenizer.Config(),
        dataloader=MixtureLoader.Config(run=str(settings.pipeline.folder), global_batch=train.global_batch),
        metrics=Unlogged.Config(log_freq=1, disable_color_printing=True),
        optimizer=groups.optimizer(names, train, train.peak, train.weight_decay),
        lr_scheduler=LearningRate.Config(schedule=learning_rate(train, settings.pipeline.phases, train.steps)),
        training=TrainingConfig(
            local_batch_size=train.local_batch,
            global_batch_size=train.global_batch,
            seq_len=settings.plan.seq_len,
            steps=train.steps,
            max_norm=train.max_grad_norm,
            mixed_precision_param=train.dtype,
            disable_cuda_graphs=True,
        ),
        parallelism=ParallelismConfig(
            spmd_backend="partial_dtensor",
            data_parallel_replicate_degree=train.data_parallel_replicate,
            data_parallel_shard_degree=train.data_parallel_shard,
            tensor_parallel_degree=train.tensor_parallel,
            pipeline_parallel_degree=train.pipeline_parallel,
            context_parallel_degree=train.context_parallel,
            context_parallel_load_balancer="ptrr",
        ),
        checkpoint=Checkpoints.Config(
            enable=True,
            folder=CHECKPOINTS,
            interval=train.checkpoint_every,
            keep=train.keep,
            archive=train.archive and f"{train.archive}/{settings.pipeline.name}/{train.run}",
            async_mode=async_mode(train.async_checkpoints),
            initial_load_model_only=weights is not None,
            initial_load_in_hf=weights is not None,
            initial_load_path=None if weights is None else str(weights.resolve()),
        ),
        activation_checkpoint=CHECKPOINTING[train.activation_checkpointing],  # type: ignore[arg-type]
        compile=CompileConfig(enable=train.compile, components=["model"]),
        comm=communication(),
        flops_per_token=flops.of_utilisation(settings.architecture, settings.plan.seq_len),
        debug=DebugConfig(seed=train.seed, enable_structured_logging=False),
        extensions=extensions(settings, names),
    )


def extensions(settings: Settings, names: list[str]) -> list[Extension]:
    """What takes part in every step, in this order; `names` are the model's tensors."""
    train = settings.pipeline.train
    may_hold = settings.pipeline.eval.controller == "ewc"
    if train.ewc or train.l2_sp or may_hold:
        anchor.check(settings, train.ewc or float(may_hold))
    # Health judges a batch before the others see it; unfreezing takes away from the gradients what others have added;
    # loggers write down what all have said.
    return [
        Health(train),
        anchor.Anchor(settings),
        *controller.extensions(settings.pipeline),
        Scores(),
        *unfreezing(train, names, settings.new_rows, train.steps),
        *loggers.extensions(settings),
    ]


def _tracks(settings: Settings) -> Tracks:
    keys, where = settings.pipeline.eval, str(settings.pipeline.folder / "pipeline.yaml")
    train = settings.pipeline.train
    if max(train.tensor_parallel, train.context_parallel, train.pipeline_parallel) > 1 and (
        keys.domain or keys.general or keys.generated_tokens
    ):
        raise ValueError(
            f"{where}: eval.domain, eval.general, eval.generated_tokens: tasks and generated texts are worked out by "
            "processes that each hold whole layers and whole rows, which tensor, context and pipeline parallel ones do "
            "not. Set them to [], [] and 0 for this training run, and score the export with python -m eval.run."
        )
    return Tracks(
        keys,
        lambda: files(settings.pipeline, where),
        where,
        settings.folder,
        settings.tokenizer,
        min(settings.architecture.max_positions, keys.context),
    )


def communication() -> CommConfig:
    """How processes talk: gloo on the CPU, NCCL on GPUs, without torchtitan's flight recorder.

    One process may take a while to resize a large model before the first step, and to copy files at the export; a
    process that hangs longer than this is taken for dead.
    """
    return CommConfig(trace_buf_size=0, init_timeout_seconds=3600, train_timeout_seconds=900)


def meet() -> None:
    """Let the processes of this run find each other, each on its own device."""
    utils.device_module.set_device(utils.get_local_device())
    dist_utils.init_distributed(communication())


class NoTokenizer(BaseTokenizer):
    """The rows are tokens already; torchtitan only wants to have built one."""

    @dataclass(kw_only=True, slots=True)
    class Config(BaseTokenizer.Config):
        """Nothing to set."""

    def __init__(self, config: Config, **_: Any):
        super().__init__()

    def encode(self, *args: Any, **options: Any) -> list[int]:
        """Never called."""
        raise AssertionError("the mixture is already encoded")

    def decode(self, *args: Any, **options: Any) -> str:
        """Never called."""
        raise AssertionError("the mixture is already encoded")

    def get_vocab_size(self) -> int:
        """Never called."""
        raise AssertionError("the mixture is already encoded")
