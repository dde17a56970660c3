"""Every kind of fault of the simulators stands in a catalogue, and what a catalogue names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from repo_tree import ROOT

from witness.sim.campaign.catalogue import kinds_of
from witness.sim.catalogue import CATALOGUE as SIM
from witness.sim.faults import FAULTS
from witness.sim.kit import KIT as SIM_KIT
from witness.sim.raft.catalogue import CATALOGUE as FUZZ
from witness.sim.raft.faults import CONSEQUENCES, KINDS
from witness.sim.raft.kit import KIT as FUZZ_KIT

BOTH = pytest.mark.parametrize("rows", [SIM, FUZZ], ids=["sim", "fuzz"])
ID = re.compile(r"[PNDCOSGAHLQ][0-9]{1,2}")
PAGE = ROOT / "docs/internals/simulation.md"


def test_every_kind_of_fault_stands_in_the_catalogue_and_no_other():
    assert kinds_of(SIM) == sorted(FAULTS)
    assert kinds_of(FUZZ) == sorted(KINDS)
    assert sorted(SIM_KIT.kinds) == sorted(FAULTS)
    assert sorted(FUZZ_KIT.kinds) == sorted(KINDS)


def test_what_follows_from_faults_is_counted_too():
    assert {counter for row in FUZZ for counter in row.counters} >= CONSEQUENCES


@BOTH
def test_a_row_says_how_its_fault_is_seen(rows):
    for row in rows:
        assert row.what
        assert bool(row.counters) is not bool(row.shown_by), f"{row.what}: counters, or the tests that show it"
        assert not row.kinds or row.counters
        assert all(ID.fullmatch(one) for one in row.ids.split()), row.ids


@BOTH
def test_a_counter_belongs_to_one_row(rows):
    counters = [counter for row in rows for counter in row.counters]
    assert len(counters) == len(set(counters))


@BOTH
def test_tests_that_show_a_fault_exist(rows):
    for path, _, test in (node.partition("::") for row in rows for node in row.shown_by):
        assert (ROOT / path).is_file(), path
        assert f"def {test}(" in Path(ROOT / path).read_text() or not test, f"{path}::{test}"


def test_the_page_names_every_id_of_the_catalogues():
    ids = {one for row in (*SIM, *FUZZ) for one in row.ids.split()}
    assert sorted(one for one in ids if not re.search(rf"\b{one}\b", PAGE.read_text())) == []
