"""Tasks for lm-eval over local benchmark items."""
