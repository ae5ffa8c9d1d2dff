"""Keys of the methods against forgetting (train/anchor.py, train/groups.py, train/stages.py)."""

from typing import Annotated

from pydantic import Field

from pipelines.section import Section


class MethodKeys(Section):
    """What holds the model near its base, and which of its weights learn how fast."""

    ewc: float = Field(0.0, ge=0)
    """Strength of elastic weight consolidation (arXiv 1612.00796): adds strength / 2 x the sum of F (weight - base)^2
    to the loss, F being the base's Fisher information per predicted token. Takes 8 bytes a weight, shared out over the
    ranks. A decision during the run may change it. 0 turns it off."""
    ewc_sequences: int = Field(256, ge=1)
    """Replay sequences the Fisher information is estimated on, once: a forward and backward pass of each on every rank.
    All of them where the replay pool has fewer."""
    l2_sp: float = Field(0.0, ge=0)
    """Strength of L2-SP (arXiv 1802.01483): adds strength / 2 x the sum of (weight - base)^2 to the loss. Takes 4 bytes
    a weight, shared out over the ranks; the paper has it in place of weight decay (weight_decay: 0). 0 turns it off."""
    freeze: list[str] = []
    """Weights that are not trained: embeddings, head, norms, attention, mlp, layers.0-3 (layers are counted from 0), or
    a pattern of tensor names such as layers.*.attention.wo.*. An empty list trains all."""
    lr_groups: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Learning rate of some weights as a multiple of peak_lr, e.g. {embeddings: 0.5, layers.0-3: 0.1}; named as in
    freeze. A tensor that several names mean gets the product. Empty gives all the same."""
    unfreeze_after: dict[str, Annotated[int, Field(ge=1)]] = {}
    """Staged unfreezing: steps before some weights begin to learn, e.g. {embeddings: 50, layers.0-3: 100}; named as in
    freeze. Warm-up and decay count from step 1 all the same. Empty lets all learn from the first step on."""
    new_rows_first: int = Field(0, ge=0)
    """Steps at the beginning that train only the rows of new tokens (input embedding and output head); then all weights
    learn, those of unfreeze_after at their own step. 0 turns it off."""
