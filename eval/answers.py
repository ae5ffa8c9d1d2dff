"""What a causal language model answers to lm-eval's requests, worked out by all ranks together.

The first rank asks, the others answer with it (`Answers.ask`): lm-eval, its tasks and the programs it may run are in
one process only, and every rank makes the same number of forward passes, as a sharded model needs. Batches are formed
over all requests whatever the number of ranks, and a rank computes whole batches, so the answers do not depend on it.

Continuations are greedy and have no cache of keys and values: each new token is a pass over the text so far.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist

from eval.held_out import IGNORED

TOKENS_AT_ONCE = 4096
"""Tokens per forward pass, padding included; a longer text is a batch of its own."""
STOP_TOKENS = 32
"""Newest tokens in which a stop string is looked for after each token."""

Forward = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(inputs [n, l], labels [n, l, k], -100 where nothing is asked) -> (nats of each label [n, l, k], the likeliest token
[n, l] at the places with a label); whatever stands at other places."""
Row = tuple[tuple[int, ...], int]
"""Tokens, and how many of them, at the end, are scored."""
_Result = TypeVar("_Result")


class Answers:
    """A model behind a `Forward`; every rank has one. `decode` turns tokens into text, to find where to stop."""

    def __init__(self, forward: Forward, decode: Callable[[list[int]], str], max_length: int, device: str = "cpu"):
        self.forward, self.decode, self.max_length, self.device = forward, decode, max_length, device
        together = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if together else 0
        self.world = dist.get_world_size() if together else 1

    def ask(self, questions: Callable[[], _Result]) -> _Result:
        """Call `questions` on the first rank, which may use `score` and `write` there; its result on every rank.

        An error there ends the other ranks with exit status 2.
        """
        if self.world == 1:
            return questions()
        if self.rank == 0:
            try:
                result = questions()
            except BaseException:
                self._share(("failed", ()))
                raise
            self._share(("done", result))
            return result
        while True:
            what, arguments = self._share(None)
            if what == "done":
                return arguments
            if what == "failed":
                raise SystemExit(2)
            getattr(self, what)(*arguments)

    def score(self, rows: Sequence[Row]) -> list[tuple[float, bool]]:
        """For each row the log-likelihood in nats of its last tokens, and whether each of them is the likeliest.

        Rows longer than max_length + 1 lose their beginning. Rows that differ in their last token only are one pass.
        Raises ValueError where more is asked than the model can see at once.
        """
        if not rows:
            return []
        longest = max(asked for _, asked in rows)
        if longest > self.max_length:
            raise ValueError(
                f"eval.domain, eval.general: an answer of {longest} tokens does not fit in the model's context of "
                f"{self.max_length}, so it cannot be scored. Take that task out."
            )
        return self._together("_score", [(tuple(tokens[-self.max_length - 1 :]), asked) for tokens, asked in rows])

    def write(
        self, prompts: Sequence[Sequence[int]], tokens: int, ends: list[int], stops: list[str]
    ) -> list[list[int]]:
        """Up to `tokens` likeliest tokens after each prompt, until one of `ends` or the text holds one of `stops`."""
        return self._together("_write", [tuple(prompt) for prompt in prompts], tokens, ends, stops)

    def _together(self, what: str, *arguments: Any) -> Any:
        self._share((what, arguments))
        return getattr(self, what)(*arguments)

    def _share(self, what: Any) -> Any:
        """The first rank's object on every rank."""
        shared = [what]
        if self.world > 1:
            dist.broadcast_object_list(shared)
        return shared[0]

    def _score(self, rows: list[Row]) -> list[tuple[float, bool]]:
        groups: dict[Row, list[int]] = {}
        for tokens, asked in sorted(set(rows)):
            groups.setdefault((tokens[:-1], asked), []).append(tokens[-1])
        ordered = sorted(groups.items(), key=lambda group: (-len(group[0][0]), group))
        batches = list(_batches([len(inputs) for (inputs, _), _ in ordered]))
        most = max(len(last) for _, last in ordered)
        sums, greedy = np.zeros((len(ordered), most)), np.zeros((len(ordered), most))
        for batch, mine in self._turns(batches):
            inputs, labels = _labelled(ordered[batch])
            nats, best = self.forward(inputs, labels)
            if mine:
                width = labels.shape[2]
                sums[batch, :width] = -np.where(labels == IGNORED, 0, nats.astype(np.float64)).sum(1)
                greedy[batch, :width] = ((best[:, :, None] == labels) | (labels == IGNORED)).all(1)
        sums, greedy = self._add_up(sums), self._add_up(greedy)
        found = {
            ((*inputs, token), asked): (float(sums[at, choice]), bool(greedy[at, choice]))
            for at, ((inputs, asked), last) in enumerate(ordered)
            for choice, token in enumerate(last)
        }
        return [found[row] for row in rows]

    def _write(self, prompts: list[tuple[int, ...]], tokens: int, ends: list[int], stops: list[str]) -> list[list[int]]:
        ordered = sorted(set(prompts), key=lambda prompt: (-len(prompt), prompt))
        batches = list(_batches([len(prompt) + tokens for prompt in ordered]))
        written: dict[tuple[int, ...], list[int]] = {}
        for batch, mine in self._turns(batches):
            chosen = ordered[batch]
            new: list[list[int]] = [[] for _ in chosen]
            unfinished = list(range(len(chosen))) if mine else []
            for _ in range(tokens):
                rows = [[*chosen[at], *new[at]] for at in unfinished or [0]]
                inputs = _padded(rows)
                asked = np.full((*inputs.shape, 1), IGNORED)
                asked[range(len(rows)), [len(row) - 1 for row in rows]] = 0
                _, best = self.forward(inputs, asked)
                for row, at in enumerate(unfinished):
                    new[at].append(int(best[row, len(rows[row]) - 1]))
                unfinished = [at for at in unfinished if not self._ended(new[at], ends, stops)]
                if not self._add_up(np.array([float(len(unfinished))]))[0]:
                    break
            if mine:
                written |= dict(zip(chosen, new, strict=True))
        parts: list[Any] = [written]
        if self.world > 1:
            parts = [None] * self.world
            dist.all_gather_object(parts, written)
        written = {prompt: new for part in parts for prompt, new in part.items()}
        return [written[prompt] for prompt in prompts]

    def _ended(self, new: list[int], ends: list[int], stops: list[str]) -> bool:
        if new[-1] in ends:
            return True
        text = self.decode(new[-STOP_TOKENS:]) if stops else ""
        return any(stop in text for stop in stops)

    def _turns(self, batches: list[slice]) -> Iterator[tuple[slice, bool]]:
        """This rank's batches; where it has none left, the last one again, with False, so that all make as many."""
        for turn in range(math.ceil(len(batches) / self.world)):
            mine = turn * self.world + self.rank
            yield batches[min(mine, len(batches) - 1)], mine < len(batches)

    def _add_up(self, values: np.ndarray) -> np.ndarray:
        if self.world == 1:
            return values
        total = torch.from_numpy(values).to(self.device)
        dist.all_reduce(total)
        return total.cpu().numpy()


def label_nats(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of logits [m, V] and labels [m, k]: -log p of each label [m, k], 0 where it is -100, and likeliest tokens [m]."""
    logits = logits.float()
    chosen = logits.gather(-1, labels.clamp(min=0))
    return (logits.logsumexp(-1, keepdim=True) - chosen) * (labels != IGNORED), logits.argmax(-1)


def _batches(lengths: list[int]) -> Iterator[slice]:
    """Slices over rows of these lengths, longest first, of at most TOKENS_AT_ONCE tokens with the padding."""
    start = 0
    while start < len(lengths):
        end = start + max(1, TOKENS_AT_ONCE // lengths[start])
        yield slice(start, end)
        start = end


def _labelled(groups: list[tuple[Row, list[int]]]) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [n, l] and labels [n, l, k] of groups (inputs, tokens asked at the end), each with k last tokens."""
    inputs = _padded([list(tokens) for (tokens, _), _ in groups])
    labels = np.full((*inputs.shape, max(len(last) for _, last in groups)), IGNORED, np.int64)
    for row, ((tokens, asked), last) in enumerate(groups):
        length = len(tokens)
        if asked > 1:
            labels[row, length - asked : length - 1, : len(last)] = np.array(tokens[1 + length - asked :])[:, None]
        labels[row, length - 1, : len(last)] = last
    return inputs, labels


def _padded(rows: list[list[int]]) -> np.ndarray:
    """[n, l] int64 with 0 after each row: attention is causal, so what stands there is not seen."""
    filled = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for at, row in enumerate(rows):
        filled[at, : len(row)] = row
    return filled
