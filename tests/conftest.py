"""Settings of all tests: how hypothesis draws, and what encrypting a key costs.

By default hypothesis draws the same examples each time, so that a run can be repeated.
``HYPOTHESIS_PROFILE=search`` looks for new ones, many more of them. No example is timed: how long
one takes says something about the machine only.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from dii.crypto.keys import save_key

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


@pytest.fixture(scope="module", autouse=True)
def quick_keys() -> Iterator[None]:
    """Encrypt new keys at a low cost; ``test_crypto_keys`` keeps the ordinary one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(save_key.__kwdefaults__, "cost", 4)
        yield
