"""How hypothesis draws: by default the same examples each time, so that a run can be repeated.

``HYPOTHESIS_PROFILE=search`` looks for new ones, many more of them. No example is timed: how long
one takes says something about the machine only.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "repeat",
    derandomize=True,
    deadline=None,
    max_examples=100,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "search", settings.get_profile("repeat"), derandomize=False, max_examples=5000
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))
