"""What an extension promises, counted on the extended tokenizer itself before it is written."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tokenization.merges import NewToken, Word

if TYPE_CHECKING:
    from tokenization.pretokens import Pretokens


def check(
    base: "Pretokens",
    new: "Pretokens",
    words: Mapping[str, Word],
    lengths: list[int],
    learned: list[NewToken],
    domain_sample: list[str],
    general_sample: list[str],
) -> dict[str, int]:
    """What was promised, counted on the new tokenizer itself; ValueError where it does not hold.

    `words` hold the tokens expected, `lengths` the number of tokens that each of them took before [words].
    """
    names = [one.token for one in learned]
    moved = sum(new.names.get(index) != token for index, token in base.names.items())
    unreachable = sum(tokens != [one.id] for one, tokens in zip(learned, new.tokens_of(names), strict=True))
    found_tokens = new.tokens_of(list(words))
    unexpected = sum(tokens != word.tokens for word, tokens in zip(words.values(), found_tokens, strict=True))
    grown = sum(len(tokens) > length for length, tokens in zip(lengths, found_tokens, strict=True))
    sample = [*general_sample, *domain_sample]
    pairs = [
        (before.ids, after.ids)
        for before, after in zip(
            base.tokenizer.encode_batch_fast(sample), new.tokenizer.encode_batch_fast(sample), strict=True
        )
    ]
    longer = sum(len(after) > len(before) for before, after in pairs[: len(general_sample)])
    altered = sum(_text(base, before) != _text(new, after) for before, after in pairs)
    found = {
        "old_ids_moved": moved,
        "unreachable_tokens": unreachable,
        "round_trip_failures": altered,
        "longer_general_documents": longer,
        "longer_pretokens": grown,
        "pretokens_not_as_learned": unexpected,
        "documents_checked": len(pairs),
        "pretokens_checked": len(words),
    }
    if moved or unreachable or unexpected or grown or longer or altered:
        raise ValueError(
            f"the extended tokenizer does not keep what it promises ({found}), so it is not written: this base "
            "tokenizer treats text in a way that is not known here. Set tokenizer.extend: never."
        )
    return found


def _text(pretokens: "Pretokens", ids: list[int]) -> str:
    """What `ids` read back as; without a decoder, the tokens as they are written."""
    if pretokens.tokenizer.decoder is None:
        return "".join(pretokens.names[index] for index in ids)
    return pretokens.tokenizer.decode(ids, skip_special_tokens=False)
