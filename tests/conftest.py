"""What holds for every test: seeded property tests, so that a red run is red again.

Profile `ci` (the default) derives every example from the test itself; `dev` looks for new examples, more of
them, and keeps its findings: HYPOTHESIS_PROFILE=dev make test ARGS=tests/unit
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# Deadlines judge the machine rather than the code; the per-test timeout of pyproject.toml bounds a hang.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("dev", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_addoption(parser: pytest.Parser) -> None:
    says = "write what was really told into tests/sim/scenarios; read the difference before you commit it"
    parser.addoption("--rewrite", action="store_true", help=says)
