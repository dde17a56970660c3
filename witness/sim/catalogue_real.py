"""Of the catalogue of faults: what only real processes, sockets, files and certificates show, and the tests that do."""

from __future__ import annotations

from witness.sim.campaign.catalogue import Row


def _shown(ids: str, what: str, *tests: str) -> Row:
    return Row(ids, what, shown_by=tests)


REAL = (
    _shown(
        "C2",
        "a site's clock is slower, or faster, than its leases allow, and no other clock of its host tells",
        "tests/sim/test_sim_scenarios.py",
        "tests/unit/test_clock_rates.py",
        "tests/unit/test_clock_rules.py",
    ),
    _shown("P1 P9 P10", "witness processes killed at named moments", "tests/crash/test_crash_slice.py"),
    _shown(
        "P11 P12",
        "real platforms that fork away, ignore TERM or stand still",
        "tests/integration/test_guard_deadline.py",
        "tests/integration/test_guard_steps.py",
    ),
    _shown(
        "G2",
        "the agent goes and comes back while its processes run",
        "tests/integration/test_guard_exec.py::test_the_agent_may_go_and_come_back",
        "tests/integration/test_agent_takeover.py",
    ),
    _shown("D1", "a real disk that fills up", "tests/crash/test_crash_full_disk.py"),
    _shown(
        "D4 D6 D8",
        "each file torn, rotten, empty or missing",
        "tests/sim/test_disk_faults.py",
        "tests/sim/test_disk_damage.py",
        "tests/unit/test_raft_snapshot_file.py",
    ),
    _shown(
        "O1",
        "another cluster, another life of this one",
        "tests/integration/test_readmission.py::test_o1_a_witness_of_another_cluster_is_refused_and_both_ends_say_so",
        "tests/integration/test_readmission.py::"
        "test_o1_a_witness_of_another_life_of_the_cluster_is_refused_unless_it_is_blank",
    ),
    _shown("O7", "witnesses of two versions", "tests/unit/test_feature_level.py"),
    _shown(
        "O11 S1 S9",
        "certificates: none, foreign, expired, revoked, of another role or site",
        "tests/integration/test_tls_handshake.py",
        "tests/integration/test_agent_stream.py::test_a_hello_that_contradicts_the_certificate_is_refused",
    ),
    _shown(
        "S4 S5",
        "hostile frames",
        "tests/unit/test_codec.py::test_hostile_msgpack_is_refused",
        "tests/integration/test_agent_stream.py::test_far_too_large_frames_are_not_even_read",
    ),
    _shown(
        "S6",
        "too many, silent and endless connections",
        "tests/integration/test_agent_stream.py::test_streams_are_bounded",
        "tests/integration/test_agent_stream.py::test_a_silent_agent_is_swept_away",
    ),
    _shown("S8", "a pickle in a log entry", "tests/unit/test_raft_parts.py::test_reaching_pickle_ends_the_process"),
)
