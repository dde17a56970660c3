"""A slice of `make fences`: one blow on real processes, a referee that sees two at once, what the run says of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fencerig import activity_referee, fenced_platform
from fencerig.activity import Dual, Report, Seen, dual, read_report, spread
from fencerig.fence_run import judged, line_of
from fencerig.fence_scenarios import SCENARIOS
from fencerig.fence_trial import Outcome

from witness.demo.processes import below

RUN_S = 110.0
WAIT_S = 30.0
PROGRAM = Path(__file__).with_name("fences_run.py")
PROBE = """
import sys
from agents.fencing import containment
sys.exit(0 if containment.enter(None)[0] != containment.PROCESS_GROUP else 3)
"""
pytestmark = pytest.mark.process


def verb(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=RUN_S, check=False)


def until(condition: Callable[[], object], what: str) -> None:
    ends = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < ends, f"not within {WAIT_S} s: {what}"
        time.sleep(0.01)


@pytest.mark.timeout(150)
@pytest.mark.root
def test_a_site_that_is_stopped_with_its_platform_is_never_active_beside_the_next() -> None:
    if subprocess.run([sys.executable, "-c", PROBE], check=False).returncode != 0:
        pytest.skip("PID NAMESPACES CANNOT BE MADE HERE: stopped sites were not tried (run as root)")
    done = verb("--ttl", "2s", "--trials", "1", "--only", "stop-site", "--json")
    told = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, done.stderr
    assert told["ok"] is True
    row = told["scenarios"]["stop-site"]
    assert set(row["ended_by"]) == {"kernel timer"}
    assert (row["dual_alive_ms"], row["dual_signs_ms"], row["dual_looks"]) == (0, 0, 0)
    assert told["referee_looks"]["count"] > 1_000
    assert told["kept"] == []


def test_a_run_that_is_ended_by_a_signal_leaves_nothing(tmp_path: Path) -> None:
    with (tmp_path / "err").open("w", encoding="utf-8") as err:
        command = [sys.executable, str(PROGRAM), "--only", "stop-site", "--json"]
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=err, text=True, env={**os.environ, "TMPDIR": str(tmp_path)}
        )
    try:
        until(lambda: len(below([child.pid])) >= 4 or child.poll() is not None, "witnesses and sites were started")
        started = below([child.pid])
        child.send_signal(signal.SIGTERM)
        out, _ = child.communicate(timeout=WAIT_S)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 128 + signal.SIGTERM
    assert json.loads(out.splitlines()[-1])["interrupted"] == "SIGTERM"
    assert [one for one in started if one.alive()] == []
    assert list(tmp_path.glob("thirdsite-*")) == []


class Stage:
    """A referee, and platforms of any epoch that no guard holds."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = root / "r.sock"
        (root / "stamps").mkdir()
        self.referee = subprocess.Popen(
            [sys.executable, "-I", "-S", activity_referee.__file__, str(self.socket), str(root / "stamps")],
            stdin=subprocess.PIPE,
        )
        self.steps: list[subprocess.Popen[bytes]] = []
        until(self.socket.exists, "the referee listens")

    def hang(self, site: str, epoch: int) -> subprocess.Popen[bytes]:
        """An activation step that hangs: one process."""
        (self.root / site).mkdir()
        (self.root / site / "manner").write_text("hang")
        words = ["start", self.root / site, "0", self.socket, self.root / "stamps", site]
        step = subprocess.Popen(
            [sys.executable, "-I", "-S", fenced_platform.__file__, *map(str, words)],
            env={**os.environ, "THIRDSITE_EPOCH": str(epoch)},
        )
        self.steps.append(step)
        until(lambda: self.report().epoch(epoch) is not None, f"epoch {epoch} lives")
        return step

    def report(self) -> Report:
        import socket

        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.socket))
            sock.sendall(b"report\n")
            return read_report(json.loads(sock.makefile().readline()))

    def close(self) -> None:
        for step in self.steps:
            step.kill()
            step.wait()
        assert self.referee.stdin is not None
        self.referee.stdin.close()
        assert self.referee.wait(WAIT_S) == 0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def test_the_referee_sees_two_at_once_and_a_stopped_process_counts(stage: Stage) -> None:
    first = stage.hang("dc-a", 7)
    until(lambda: (stage.report().epoch(7) or pytest.fail("gone")).last_sign_ns > 0, "it stamps")
    first.send_signal(signal.SIGSTOP)
    second = stage.hang("dc-b", 8)
    until(lambda: stage.report().looks["dual"] > 5, "looks that see both")
    both = dual(stage.report())
    assert both.alive_ns > 5 * activity_referee.SAMPLE_NS
    assert both.signs_ns == 0, "the stopped one executed nothing"
    first.send_signal(signal.SIGCONT)
    until(lambda: dual(stage.report()).signs_ns > 0, "woken, it executes beside the other")
    first.kill()
    until(lambda: (stage.report().epoch(7) or pytest.fail("gone")).gone_ns, "the kernel closed its connection")
    assert stage.report().epoch(8) is not None
    assert second.poll() is None


def seen(epoch: int, first: int, last: int, gone: int | None, role: str = "daemon") -> Seen:
    return Seen("dc-a" if epoch % 2 else "dc-b", epoch, role, first, last, 1, 1, first, gone)


def test_epochs_are_alive_from_their_first_step_until_their_last_process_is_gone() -> None:
    report = Report(900, (seen(1, 10, 20, 25, "step"), seen(1, 18, 70, 80), seen(2, 75, 200, None)), {})
    first, second = report.epochs()
    assert (first.first_ns, first.last_sign_ns, first.gone_ns) == (10, 70, 80)
    assert (second.first_ns, second.gone_ns) == (75, None)
    assert dual(report) == Dual(alive_ns=5, signs_ns=0)
    assert dual(report, since_epoch=2) == Dual(0, 0)
    late = Report(900, (seen(1, 10, 100, None), seen(2, 75, 200, None)), {})
    assert dual(late) == Dual(alive_ns=825, signs_ns=25)


@pytest.mark.parametrize(
    ("outcome", "broken"),
    [
        (Outcome(last_sign_ms=-50.0, deadline_known=True), 0),
        (Outcome(last_sign_ms=None), 0),
        (Outcome(last_sign_ms=9.0, deadline_known=True, deadline_known_ms=2.0), 1),
        (Outcome(dual_alive_ms=0.4), 1),
        (Outcome(dual_looks=1), 1),
        (Outcome(dual_alive_ms=3.0, dual_signs_ms=2.0), 2),
    ],
)
def test_a_broken_promise_is_said(outcome: Outcome, broken: int) -> None:
    assert len(judged(SCENARIOS["stop-site"], outcome)) == broken
    assert line_of(outcome)


def test_a_process_in_state_d_may_exist_and_may_execute_nothing() -> None:
    assert judged(SCENARIOS["state-d"], Outcome(dual_alive_ms=3.0, dual_looks=2)) == []
    assert len(judged(SCENARIOS["state-d"], Outcome(dual_signs_ms=0.1))) == 1


def test_a_spread_has_least_median_and_greatest() -> None:
    assert spread([3.0, 1.0, 2.0]) == {"min": 1.0, "median": 2.0, "max": 3.0}
    assert spread([4.0, 1.0]) == {"min": 1.0, "median": 2.5, "max": 4.0}
    assert spread([]) is None


def test_wrong_arguments_are_refused_with_their_names() -> None:
    for options in (("--only", "stop-nothing"), ("--ttl", "soon"), ("--trials", "0")):
        done = verb(*options)
        assert done.returncode == 2
        assert options[1] in done.stderr


def test_every_row_is_listed_with_what_stands_against_it() -> None:
    done = verb("--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(SCENARIOS)
    told: dict[str, Any] = {one.name: one.part for one in SCENARIOS.values()}
    assert {name for name, part in told.items() if part == "stop"} == {
        "stop-agent",
        "stop-guard",
        "stop-both",
        "stop-site",
    }
