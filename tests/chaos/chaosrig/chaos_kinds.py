"""The registry of kinds. A new kind is a function beside its like, a line in its table, one in `chaos_expect.py` for
what it justifies, and one in `tests/sim/sim_real_kinds.py` for how it is drawn."""

from __future__ import annotations

from chaosrig.chaos_expect import moves_in_words
from chaosrig.chaos_fault import Kind
from chaosrig.chaos_faults_machine import MACHINES
from chaosrig.chaos_faults_net import NET
from chaosrig.chaos_faults_people import PEOPLE
from chaosrig.chaos_faults_process import PROCESSES

KINDS: dict[str, Kind] = {kind.name: kind for kind in (*PROCESSES, *NET, *MACHINES, *PEOPLE)}

ELSEWHERE = {
    "P1 P9 P10": ("killed at each named moment of a write", "tests/crash/test_crash_slice.py"),
    "P4 P5 G1 G2": ("each stop of a site and each end of a platform against its deadline", "tests/chaos/fences_run.py"),
    "P11 P12": ("platforms that fork away, hang, ignore TERM or stand in state D", "tests/chaos/fences_run.py"),
    "N6 N12": ("messages twice, answers of an older term: TCP hides them", "tests/sim/test_raft_fuzz_slice.py"),
    "O1": ("a witness of another cluster, or of another life of this one", "tests/integration/test_readmission.py"),
    "O5": ("all witnesses lost and restored from a backup", "tests/integration/test_backup_restore.py"),
    "O7": ("witnesses of two versions", "tests/unit/test_feature_level.py"),
    "O8": ("lease constants that change while leases are held", "tests/sim/test_sim_slice.py"),
    "D1": ("a disk that fills up while writes go on", "tests/crash/test_crash_full_disk.py"),
    "D4 D6 D7 D8": ("files torn, rotten, empty, of different times", "tests/sim/test_disk_damage.py"),
    "C5": ("a guest that stands still with all its clocks", "tests/chaos/guest_run.py"),
    "H3": ("a hold is promised, then the promiser is granted the lease", ""),
}
"""Faults that others show, or that nobody does yet (no file)."""


def catalogue() -> list[str]:
    """Two tables of Markdown: what is struck here, and what others show."""
    lines = ["| kind | faults | what happens | may the epoch move |", "|---|---|---|---|"]
    for kind in KINDS.values():
        says = f"{kind.says}; alone" if kind.alone else kind.says
        lines.append(f"| `{kind.name}` | {kind.ids} | {says} | {moves_in_words(kind.name)} |")
    lines += ["", "Shown by others:", "", "| faults | what | by |", "|---|---|---|"]
    lines += [f"| {ids} | {says} | {f'`{by}`' if by else 'nobody yet'} |" for ids, (says, by) in ELSEWHERE.items()]
    return lines
