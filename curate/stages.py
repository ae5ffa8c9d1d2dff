"""Every stage, imported so that pipeline files can name it."""

import curate.decontaminate
import curate.exact_dedup
import curate.held_out
import curate.heuristics
import curate.language
import curate.near_dedup
import curate.normalize
import curate.perplexity  # noqa: F401
