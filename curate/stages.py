"""Every stage, imported so that pipeline files can name it."""

import curate.classify
import curate.datatrove_step
import curate.decontaminate
import curate.exact_dedup
import curate.extract
import curate.held_out
import curate.heuristics
import curate.language
import curate.near_dedup
import curate.normalize
import curate.paragraph_dedup
import curate.perplexity
import curate.redact
import curate.selection
import curate.substring_dedup
import curate.toxicity  # noqa: F401
