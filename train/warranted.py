"""Whether continued pretraining is worth its price, or retrieval or adapters serve better: rules with their sources.

Each rule looks at one figure and says what follows. None of them is a law: they are the edges of what was published.
"""

from dataclasses import dataclass

from train.architecture import Architecture
from train.flops import lora_parameters

SMALL = 25e6
"""Domain tokens below which published continued pretraining did not help: Llama 2 7B got worse on domains of less than
100 MB, 25M tokens at 4 bytes each (Yildiz et al. 2024, arXiv 2402.17400); Llama 3 8B learned nothing it could answer
with from 1.3M tokens of books until they were rewritten into 455M (Yang et al. 2024, arXiv 2409.07431)."""
LARGE = 1e9
"""Domain tokens from which there are published models that gained: 2.1B to 8.1B tokens per domain (Gururangan et al.
2020, arXiv 2004.10964), 30B legal (arXiv 2403.03883), 48B medical (arXiv 2311.16079)."""
BITS_PER_PARAMETER = 2
"""Knowledge that a parameter can hold (Allen-Zhu and Li 2024, arXiv 2404.05405)."""
BITS_PER_TOKEN = 1
"""What there is to learn in a token of text, as Schulman et al. 2025 ("LoRA without regret") reckon."""
HIGHEST_RANK = 256
"""Highest rank of the comparisons of LoRA with full training (arXiv 2405.09673)."""
FEW_EPOCHS, MANY_EPOCHS = 4, 16
"""Repeating text so often is nearly as good as new text; beyond the second figure nothing is gained (Muennighoff et al.
2023, arXiv 2305.16264)."""
KNOWN, UNKNOWN = 1.0, 1.1
"""Domain over general bits per byte. Up to the first the base reads the domain as easily as general text; from the
second on it plainly does not. The edges are a convention of this tool: texts differ in how predictable they are."""


@dataclass(frozen=True)
class Finding:
    """One rule applied."""

    question: str
    found: str
    follows: str
    votes_for: str | None
    """continued pretraining, LoRA, retrieval, nothing; None where the figure is not known or does not decide."""
    source: str


def judge(
    a: Architecture, domain_tokens: float | None, epochs: float | None, bits: dict[str, float] | None
) -> list[Finding]:
    """What the rules say.

    `domain_tokens`: tokens of the domain pool, each counted once. `epochs`: how often the budget repeats them. `bits`:
    the base's domain_bits_per_byte and general_bits_per_byte. None where not known.
    """
    findings = [_gap(bits), _size(domain_tokens)]
    if domain_tokens is not None and domain_tokens >= SMALL:
        findings.append(_adapters(a, domain_tokens))
    if epochs is not None:
        findings.append(_repeats(epochs))
    return findings


def verdict(findings: list[Finding]) -> str:
    """The rules put together: what is most against training decides, for that is the cheaper mistake."""
    votes = [finding.votes_for for finding in findings]
    if "nothing" in votes:
        return "not warranted: the base reads the domain as well as general text"
    if "retrieval" in votes:
        return "not warranted by the size of the corpus: retrieval first"
    if "LoRA" in votes:
        return "LoRA first; full continued pretraining where it falls short"
    if "continued pretraining" in votes:
        return "warranted by what is known" if None in votes else "warranted"
    return "not decided: measure the base (--measure) and build the mixture"


def _gap(bits: dict[str, float] | None) -> Finding:
    question = "Does the base read the domain worse than general text?"
    source = "Oncel et al. 2024, arXiv 2410.05581: the more like the base's own text, the less is gained"
    if bits is None:
        return Finding(question, "not measured", "measure it: --measure", None, source)
    domain, general = bits["domain_bits_per_byte"], bits["general_bits_per_byte"]
    ratio = domain / general
    found = f"{domain:.3f} bits per byte on domain, {general:.3f} on general: ratio {ratio:.2f}"
    if ratio <= KNOWN:
        return Finding(question, found, "no: there is little to learn", "nothing", source)
    if ratio < UNKNOWN:
        return Finding(question, found, "hardly: try a pilot first", None, source)
    return Finding(question, found, "yes: there is something to learn", "continued pretraining", source)


def _size(tokens: float | None) -> Finding:
    question = "Is the corpus large enough?"
    if tokens is None:
        return Finding(question, "not known before curation (or --corpus-tokens)", "curate first", None, "")
    found = f"{tokens / 1e6:,.1f}M domain tokens"
    if tokens < SMALL:
        source = "arXiv 2402.17400, 2409.07431; retrieval teaches facts better: Ovadia et al. 2023, arXiv 2312.05934"
        return Finding(question, found, f"no, below {SMALL / 1e6:.0f}M", "retrieval", source)
    if tokens < LARGE:
        source = "arXiv 2405.09673: LoRA learns less and forgets less"
        return Finding(question, found, f"between: below {LARGE / 1e9:.0f}B", None, source)
    source = "published gains: arXiv 2004.10964 (2B to 8B), 2403.03883 (30B), 2311.16079 (48B)"
    return Finding(question, found, "yes", "continued pretraining", source)


def _adapters(a: Architecture, tokens: float) -> Finding:
    question = "Can LoRA adapters hold it?"
    capacity = BITS_PER_PARAMETER * lora_parameters(a, HIGHEST_RANK)
    needed = BITS_PER_TOKEN * tokens
    rank = -(-needed * HIGHEST_RANK // capacity)
    found = f"{needed:.2g} bits to learn, rank {HIGHEST_RANK} holds {capacity:.2g}"
    source = "arXiv 2404.05405 (2 bits a parameter); Schulman et al. 2025 (1 bit a token)"
    if needed <= capacity:
        return Finding(question, found, f"yes, from rank {max(1, int(rank))}", "LoRA", source)
    return Finding(question, found, f"no: rank {int(rank):,} would be needed", "continued pretraining", source)


def _repeats(epochs: float) -> Finding:
    question = "Does the budget repeat it too often?"
    source = "Muennighoff et al. 2023, arXiv 2305.16264"
    found = f"{epochs:.2f} epochs of the domain"
    if epochs <= FEW_EPOCHS:
        return Finding(question, found, "no", "continued pretraining", source)
    if epochs <= MANY_EPOCHS:
        return Finding(question, found, f"returns fall from {FEW_EPOCHS} on", None, source)
    return Finding(question, found, f"yes, beyond {MANY_EPOCHS} nothing is gained: fewer steps", None, source)
