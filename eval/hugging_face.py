"""A Hugging Face model as the callables that eval.held_out and eval.answers measure."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from curate.files import file_identity, identity
from eval.answers import Forward, label_nats
from eval.held_out import IGNORED, Nll

LOGITS_AT_ONCE = 1 << 22
"""Logits computed at a time (16 MB in fp32): they stay in cache, and a vocabulary of 128k needs no more memory."""


def load(folder: Path) -> Any:
    """The causal language model in `folder` in fp32, in evaluation mode, on the GPU where there is one."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    only_data = {"trust_remote_code": False, "use_safetensors": True}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa", **only_data)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device).eval()  # type: ignore[arg-type]


def nll(model: Any) -> Nll:
    """Negative log-likelihood in nats per window under a transformers model, which only sees predicted positions."""
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    device = head.weight.device
    step = max(1, LOGITS_AT_ONCE // head.weight.shape[0])

    @torch.inference_mode()
    def measure(inputs: np.ndarray, positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
        # transformers counts positions from 0 itself, which is what `positions` says; without a mask it is causal.
        hidden = decoder(input_ids=torch.from_numpy(inputs).to(device), use_cache=False).last_hidden_state
        predicted = labels != IGNORED
        hidden = hidden[torch.from_numpy(predicted).to(device)]
        targets = torch.from_numpy(labels[predicted]).to(device)
        nats = torch.empty(len(targets), device=device)
        for start in range(0, len(targets), step):
            logits = head(hidden[start : start + step])
            chosen = logits.gather(1, targets[start : start + step, None])[:, 0]
            nats[start : start + step] = torch.logsumexp(logits, dim=1) - chosen
        rows = np.nonzero(predicted)[0]
        return np.bincount(rows, weights=nats.double().cpu().numpy(), minlength=len(labels))

    return measure


def weights_identity(folder: Path) -> str:
    """16 hex digits that stand for the weights, config and tokenizer in a model folder."""
    files = sorted([*folder.glob("*.safetensors"), folder / "config.json", folder / "tokenizer.json"])
    return identity({file.name: file_identity(file) for file in files})


def answers(model: Any) -> Forward:
    """A transformers model as eval.answers asks it."""
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    device = head.weight.device

    @torch.inference_mode()
    def forward(inputs: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        hidden = decoder(input_ids=torch.from_numpy(inputs).to(device), use_cache=False).last_hidden_state
        asked = (labels != IGNORED).any(-1)
        found = label_nats(head(hidden[torch.from_numpy(asked).to(device)]), torch.from_numpy(labels[asked]).to(device))
        nats, best = np.zeros(labels.shape, np.float32), np.zeros(inputs.shape, np.int64)
        nats[asked], best[asked] = (part.cpu().numpy() for part in found)
        return nats, best

    return forward
