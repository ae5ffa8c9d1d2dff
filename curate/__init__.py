"""Curation. loguru, datatrove's log, is told before it is loaded not to write variables of a traceback: credentials."""

import os

os.environ["LOGURU_DIAGNOSE"] = "NO"
