"""How examples are drawn: the same every time, however slow the machine is.

`pytest --hypothesis-profile explore` draws others.
"""

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

pytest.register_assert_rewrite("tests.contracts")  # its asserts tell what they compared

STEADY = settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("steady", STEADY)
settings.register_profile("explore", STEADY, derandomize=False, max_examples=1000)
settings.load_profile("steady")

_find_constants = providers._get_local_constants


def _constants() -> Constants:
    """Return the constants of our modules that examples are made of: none where they are steady.

    Which of our modules are imported depends on the tests that a process happened to run before.
    """
    return Constants() if settings().derandomize else _find_constants()


providers._get_local_constants = _constants
