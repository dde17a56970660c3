"""The house rules hold, and each rule catches the snippet that it is for."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath

import pytest
from repo_tidy import (
    TEXT_SUFFIXES,
    TIDY_RULES,
    check_assert,
    check_clock,
    check_docstring,
    check_markers,
    check_sizes,
    check_test_sleep,
    check_text,
    check_waivers,
)
from repo_tree import ROOT, all_files, python_sources, report, source_of


@pytest.mark.parametrize("rule", TIDY_RULES, ids=lambda rule: rule.__name__)
def test_the_rule_holds_everywhere(rule):
    broken = [violation for source in python_sources() for violation in rule(source)]
    assert not broken, report(broken)


def test_no_machine_and_no_registry_is_named():
    broken = [
        violation
        for path in all_files()
        if PurePosixPath(path).suffix in TEXT_SUFFIXES
        for violation in check_text(path, (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert not broken, report(broken)


def test_test_files_have_names_of_their_own():
    """Outside of a package two modules of one name shadow each other; rename one of them."""
    files = {PurePosixPath(path) for path in all_files() if path.startswith("tests/") and path.endswith(".py")}
    names = Counter(path.name for path in files if path.parent / "__init__.py" not in files)
    assert [name for name, count in names.items() if count > 1 and name != "conftest.py"] == []


NO = "no" + "qa"
IGNORE = "type: " + "ignore"
LONG_FUNCTION = "def f():\n" + "    x = 1\n" * 70
BAD = [
    (check_sizes, "witness/x.py", "x = 1\n" * 401),
    (check_sizes, "tests/unit/x.py", LONG_FUNCTION),
    (check_sizes, "witness/x.py", LONG_FUNCTION.replace("def", "async def")),
    (check_docstring, "witness/x.py", "x = 1"),
    (check_assert, "proto/x.py", "assert 1"),
    (check_assert, "proto/x.py", "raise NotImplementedError"),
    (check_assert, "proto/x.py", "raise NotImplementedError('later')"),
    (check_clock, "witness/http/x.py", "import time"),
    (check_clock, "agents/core/x.py", "def f():\n    from time import monotonic"),
    (check_clock, "agents/client/x.py", "import datetime\ndatetime.datetime.now()"),
    (check_clock, "agents/client/x.py", "from datetime import date\ndate.today()"),
    (check_waivers, "witness/x.py", f"x = 1  # {NO}"),
    (check_waivers, "witness/x.py", f"x = 1  # {NO}: E501"),
    (check_waivers, "tests/unit/x.py", f"x = 1  # {NO}: E501, BLE001"),
    (check_waivers, "witness/x.py", f"x = 1  # {IGNORE}"),
    (check_waivers, "witness/x.py", f"x = 1  # {IGNORE}[misc]"),
    (check_waivers, "witness/x.py", f"# ruff: {NO}\nx = 1"),
    (check_waivers, "witness/x.py", "# mypy: ignore-errors\nx = 1"),
    (check_markers, "witness/x.py", "x = 1  # TO" + "DO later"),
    (check_markers, "tests/unit/x.py", "# FIX" + "ME"),
    (check_test_sleep, "tests/unit/x.py", "import time\ntime.sleep(1)"),
    (check_test_sleep, "tests/unit/x.py", "import asyncio\nasync def f():\n    await asyncio.sleep(0.1)"),
]


@pytest.mark.parametrize(
    ("rule", "path", "text"), BAD, ids=[f"{rule.__name__}-{n}" for n, (rule, _, _) in enumerate(BAD)]
)
def test_a_breach_is_caught(rule, path, text):
    assert list(rule(source_of(path, text)))


GOOD = [
    ("witness/core/__init__.py", ""),
    ("witness/x.py", '"""Rule."""\n' + LONG_FUNCTION.replace("    x = 1\n", "", 1)),
    ("proto/clock.py", '"""Rule."""\nimport time'),
    ("witness/pki/x.py", '"""Rule."""\nfrom datetime import datetime, UTC\ndatetime.now(UTC)'),
    ("witness/x.py", f'"""Rule."""\nx = 1  # {NO}: BLE001 - the plugin may raise anything'),
    ("witness/x.py", f'"""Rule."""\nx = 1  # {NO}: BLE001, S110  # the plugin may raise anything'),
    ("witness/x.py", f'"""Rule."""\nx = 1  # {IGNORE}[misc]  # untyped library'),
    ("tests/unit/x.py", "assert 1"),
    ("tests/unit/x.py", "import time\nwhile x():\n    time.sleep(0.01)"),
    ("tests/unit/x.py", "import time\ntime.sleep(1)  # one ttl must pass while stopped"),
    ("tests/unit/x.py", "import asyncio\nasync def f():\n    await asyncio.sleep(0)"),
]


@pytest.mark.parametrize(("path", "text"), GOOD, ids=range(len(GOOD)))
def test_what_is_allowed_passes(path, text):
    assert not [str(violation) for rule in TIDY_RULES for violation in rule(source_of(path, text))]


@pytest.mark.parametrize(
    "line",
    [
        "see /wo" + "rk/shared/x",
        "in '/ro" + "ot/.cache'",
        "at /ho" + "me/someone",
        "from https://py" + "pi.org/simple",
        "image: docker" + ".io/library/x",
        "pip --index" + "-url x",
    ],
)
def test_a_named_machine_or_registry_is_caught(line):
    assert list(check_text("docs/x.md", line))


@pytest.mark.parametrize(
    "line", ["/etc/thirdsite/agent.yaml", "https://example.org/work/x", "proto/work/x", "/var/lib/x"]
)
def test_paths_of_the_product_pass(line):
    assert not list(check_text("docs/x.md", line))
