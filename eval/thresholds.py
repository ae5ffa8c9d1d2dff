"""Whether more of the general ability is lost than the thresholds declared before training allow."""

from typing import Any

from eval.config import Thresholds


def breaches(
    thresholds: Thresholds, base: dict[str, float], figures: dict[str, float], changes: dict[str, dict[str, Any]]
) -> list[dict[str, Any]]:
    """What is beyond its threshold, each as {"what", "base", "now", "limit"}; empty where nothing is.

    `base` and `figures` are what metrics.jsonl has under `eval` at step 0 and now, `changes` what it has beside it now
    (eval.statistics.PointsChange as a dict, by task). A figure that is missing on either side is not judged.
    """
    found = []
    name = "general_bits_per_byte"
    if name in base and name in figures:
        limit = base[name] * (1 + thresholds.bits_per_byte_percent / 100)
        if figures[name] > limit:
            found.append({"what": name, "base": base[name], "now": figures[name], "limit": limit})
    for name in sorted(set(base) & set(figures) & set(changes)):
        limit = base[name] - thresholds.task_points if name.startswith("general/") else -1.0
        if figures[name] < limit and changes[name]["verdict"] == "worse":
            found.append({"what": name, "base": base[name], "now": figures[name], "limit": limit})
    return found
