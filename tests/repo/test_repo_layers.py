"""The import law holds, and the test of it would notice if it did not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from repo_layers import LAYER_RULES, check_dynamic, check_owned, check_purity, check_sides, cycles, import_graph
from repo_tree import ROOT, SHIPPED, report, shipped_sources, source_of


@pytest.mark.parametrize("rule", LAYER_RULES, ids=lambda rule: rule.__name__)
def test_the_law_holds_everywhere(rule):
    broken = [violation for source in shipped_sources() for violation in rule(source)]
    assert not broken, report(broken)


def test_there_are_no_import_cycles():
    found = cycles(import_graph(shipped_sources()))
    assert not found, "\n".join(" -> ".join(path) for path in found)


@pytest.mark.parametrize("package", SHIPPED)
def test_imported_packages_are_this_checkouts(package):
    """`proto` and `agents` are also names of well-known distributions; theirs must never be the ones we load."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert Path(spec.origin).resolve() == ROOT / package / "__init__.py"


BAD = [
    (check_sides, "agents/x.py", "import witness.core"),
    (check_sides, "agents/x.py", "from witness import core"),
    (check_sides, "witness/http/x.py", "def f():\n    from agents.core import site"),
    (check_sides, "witness/http/x.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import agents"),
    (check_sides, "proto/x.py", "import agents.core"),
    (check_sides, "proto/edge/x.py", "import witness"),
    (check_sides, "witness/http/x.py", "from witness import sim"),
    (check_sides, "witness/http/x.py", "from ..sim import world"),
    (check_sides, "witness/sim/x.py", "import witness.bench"),
    (check_owned, "witness/http/x.py", "import pysyncobj.node"),
    (check_owned, "proto/x.py", "import pickle"),
    (check_purity, "witness/core/x.py", "import asyncio"),
    (check_purity, "witness/core/x.py", "import time"),
    (check_purity, "witness/core/x.py", "def f():\n    import random"),
    (check_purity, "witness/core/deep/x.py", "from os import path"),
    (check_purity, "agents/core/x.py", "import logging"),
    (check_purity, "agents/core/x.py", "import proto.edge.tls"),
    (check_purity, "agents/core/x.py", "from proto import edge"),
    (check_purity, "agents/core/x.py", "from proto.clock import SystemClock"),
    (check_purity, "agents/core/x.py", "from agents.client import transport"),
    (check_purity, "agents/core/x.py", "from ..client import transport"),
    (check_purity, "agents/core/x.py", "async def f(): ..."),
    (check_purity, "agents/core/x.py", "open('x')"),
    (check_purity, "witness/core/x.py", "hash('x')"),
    (check_purity, "proto/x.py", "import msgpack"),
    (check_purity, "proto/x.py", "from proto.edge import tls"),
    (check_dynamic, "witness/http/x.py", "import importlib\nimportlib.import_module('agents')"),
]


@pytest.mark.parametrize(("rule", "path", "text"), BAD, ids=[f"{path}:{text!r}" for _, path, text in BAD])
def test_a_breach_is_caught(rule, path, text):
    assert list(rule(source_of(path, text)))


GOOD = [
    ("witness/sim/x.py", "import agents.core, witness.core, witness.sim.y"),
    ("witness/core/x.py", "from __future__ import annotations\nfrom proto.units import Epoch\nimport hashlib"),
    ("witness/core/x.py", "from witness.core.state import State\nfrom . import machine"),
    ("agents/core/x.py", "from dataclasses import dataclass\nfrom agents.core import plan"),
    ("agents/core/x.py", "from proto.clock import ClockReading"),
    ("witness/raft/x.py", "import asyncio, time, pysyncobj"),
    ("proto/codec.py", "import msgpack"),
    ("proto/clock.py", "import time"),
    ("proto/edge/x.py", "import ssl"),
    ("witness/__main__.py", "from witness.sim import run"),
]


@pytest.mark.parametrize(("path", "text"), GOOD, ids=[f"{path}:{text!r}" for path, text in GOOD])
def test_what_is_allowed_passes(path, text):
    assert not [str(violation) for rule in LAYER_RULES for violation in rule(source_of(path, text))]


def test_a_cycle_is_found():
    sources = (
        source_of("proto/a.py", "import proto.b"),
        source_of("proto/b.py", "from proto import c"),
        source_of("proto/c.py", "from proto.a import x"),
        source_of("proto/d.py", "def f():\n    import proto.a"),
    )
    assert cycles(import_graph(sources)) == [["proto.a", "proto.b", "proto.c", "proto.a"]]
