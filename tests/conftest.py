"""What all tests share."""

from __future__ import annotations

import os

from hypothesis import settings

# A gate must answer the same twice; whoever calls pytest without it looks for new examples.
settings.register_profile("gate", derandomize=True, deadline=None)
if os.environ.get("XAIUTILS_GATE"):
    settings.load_profile("gate")
