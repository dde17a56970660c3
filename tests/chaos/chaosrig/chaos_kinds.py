"""The registry of kinds. A new kind is a function beside its like, a line in its table, one in `chaos_expect.py` for
what it justifies, and one in `tests/sim/sim_real_kinds.py` for how it is drawn."""

from __future__ import annotations

from chaosrig.chaos_fault import Kind
from chaosrig.chaos_faults_machine import MACHINES
from chaosrig.chaos_faults_net import NET
from chaosrig.chaos_faults_people import PEOPLE
from chaosrig.chaos_faults_process import PROCESSES

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*PROCESSES, *NET, *MACHINES, *PEOPLE)}
