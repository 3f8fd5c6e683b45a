"""How long the model tests run: HYPOTHESIS_PROFILE=ci (a few thousand steps, the same every time) or nightly (many, others each time)."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

_COMMON = {
    "deadline": None,
    "stateful_step_count": 50,
    # A step computes every counter anew; that is what it is for.
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    "print_blob": True,
}
# Shrinking takes minutes: CI only says which steps failed.
settings.register_profile("ci", settings(max_examples=40, derandomize=True, database=None, phases=[Phase.generate], **_COMMON))
settings.register_profile("nightly", settings(max_examples=500, **_COMMON))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
