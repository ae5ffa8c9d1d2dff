"""lm-eval's language model over `Answers`: the live torchtitan model, or any other with a forward pass.

Tokens, truncation and stop strings are as in lm-eval's own HFLM (lm_eval/models/huggingface.py), so that scores are
equal. lm-eval runs on the first rank alone and is told of one process: its calls to gather and to wait for other ranks
then do nothing, and the ranks meet inside `Answers`. Importing this module needs the extra `eval`.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, has_bos_prefix, normalize_gen_kwargs, postprocess_generated_text
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from eval.answers import Answers

Encoded = tuple[Any, list[int], list[int]]
"""(what was asked, tokens of the context, tokens of the continuation)."""


class LiveModel(TemplateLM):
    """Answers lm-eval's requests with `answers`, its text as the tokenizer in `folder` cuts it."""

    max_gen_toks = 256
    """Tokens written where a task does not say how many, as in HFLM."""

    def __init__(self, answers: Answers, folder: Path):
        from transformers import AutoTokenizer

        super().__init__()
        self.answers = answers
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        if self.prefix_token_id is None:
            raise ValueError(
                f"{folder}: the tokenizer has neither a BOS nor an EOS token, so texts without anything before them "
                "cannot be scored. Name them in tokenizer_config.json."
            )

    @property
    def eot_token_id(self) -> Any:
        """The token that ends a text."""
        return self.tokenizer.eos_token_id

    @property
    def prefix_token_id(self) -> Any:
        """The token before a text that has nothing before it."""
        return self.eot_token_id if self.tokenizer.bos_token_id is None else self.tokenizer.bos_token_id

    @property
    def max_length(self) -> int:
        """Tokens that the model sees at once."""
        return self.answers.max_length

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Tokens of a text, special ones as the tokenizer adds them where nothing is said and none is there yet."""
        if add_special_tokens is None:
            add_special_tokens = not has_bos_prefix(string, self.tokenizer.decode(self.prefix_token_id))
        return self.tokenizer.encode(string, add_special_tokens=add_special_tokens)

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """(log-likelihood in nats, whether it is the greedy continuation) of each (context, continuation)."""
        return super().loglikelihood(requests, disable_tqdm=disable_tqdm)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """Log-likelihood in nats of each text, every token predicted once, with windows as lm-eval cuts them."""
        windows: list[list[Encoded]] = []
        for request in requests:
            cut = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            windows.append([(None, *make_disjoint_window(window)) for window in cut])
        scored = iter(self._loglikelihood_tokens([window for one in windows for window in one]))
        return [sum(next(scored)[0] for _ in one) for one in windows]

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """The greedy continuation of each context, cut before the first of its stop strings."""
        groups: dict[str, list[int]] = {}
        for number, request in enumerate(requests):
            groups.setdefault(json.dumps(request.args[1], sort_keys=True), []).append(number)
        written = [""] * len(requests)
        for options, numbers in groups.items():
            texts = self._generate([requests[number].args[0] for number in numbers], json.loads(options))
            for number, text in zip(numbers, texts, strict=True):
                written[number] = text
        return written

    def _generate(self, contexts: list[str], options: dict[str, Any]) -> list[str]:
        options = dict(normalize_gen_kwargs(options, self.max_gen_toks))
        if options["do_sample"]:
            raise ValueError(
                "eval.domain, eval.general: a task wants sampled text (do_sample), which differs from run to run. "
                "Take it out, or copy the task with do_sample: false."
            )
        most = options["max_gen_toks"]
        if most >= self.max_length:
            raise ValueError(
                f"eval.domain, eval.general: a task wants {most} tokens written, and the model sees {self.max_length} "
                "at once, so none is left for the question. Take the task out, or copy it with fewer max_gen_toks."
            )
        end = None if self.eot_token_id is None else self.tokenizer.decode(self.eot_token_id)
        stops = handle_stop_sequences(options["until"], eos=end)
        prompts = [self.tok_encode(context)[-(self.max_length - most) :] for context in contexts]
        ends = [] if self.eot_token_id is None else [self.eot_token_id]
        written = self.answers.write(prompts, most, ends, stops)
        texts = [self.tokenizer.decode(new, skip_special_tokens=True) for new in written]
        return [postprocess_generated_text(text, stops, None) for text in texts]

    def _loglikelihood_tokens(self, requests: Sequence[Encoded], **_: Any) -> list[tuple[float, bool]]:
        rows = [((*context, *continuation), len(continuation)) for _, context, continuation in requests]
        return self.answers.score(rows)
