"""How many examples each property is tried with: some in every run of the suite, many when somebody asks for them.

The variable ``PROPERTIES`` names the profile: ``ci`` (when it is not set) or ``nightly`` (``make properties``). A test takes
it as its outermost decorator, so that the profile of the other tests stays what it is::

    @EXAMPLES
    @given(...)
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

__all__ = ["EXAMPLES"]

#: What an example costs, and how large it is, says more about the strategies than about the code.
_QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]

# The same examples in every run: a change of the code, and nothing else, can make the suite fail.
settings.register_profile("ci", deadline=None, max_examples=25, derandomize=True, suppress_health_check=_QUIET)
# Of all properties together, over 200,000 examples.
settings.register_profile("nightly", deadline=None, max_examples=5_000, suppress_health_check=_QUIET)

EXAMPLES = settings.get_profile(os.environ.get("PROPERTIES", "ci"))
