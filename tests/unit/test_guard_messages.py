"""Everything that enters a guard or its agent over a socket is bounded and checked."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.fencing import exec_options, guard_protocol, line_codec, local_protocol
from agents.fencing.authority import Refused
from agents.fencing.line_codec import BadLine, LineReader, Outbox

RUN = {
    "type": "run",
    "req": 1,
    "step_id": "a",
    "argv": ["true"],
    "env": {"A": "b"},
    "cwd": "/",
    "log_path": "/tmp/log",
    "timeout_ms": 0,
}


def test_lines_are_cut_wherever_the_bytes_are_cut() -> None:
    reader = LineReader()
    data = b'{"a":1}\n{"b":2}\n'
    lines = [line for at in range(len(data)) for line in reader.feed(data[at : at + 1])]
    assert [json.loads(line) for line in lines] == [{"a": 1}, {"b": 2}]


def test_an_endless_line_is_refused_and_forgotten() -> None:
    reader = LineReader()
    with pytest.raises(BadLine, match="exceeds"):
        reader.feed(b"x" * (line_codec.LINE_BYTES_MAX + 1))
    assert reader.feed(b"{}\n") == [b"{}"]


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"1", b"\xff", b"[" * 60_000, b"{}" + b" " * 70_000])
def test_what_is_not_an_object_is_refused(line: bytes) -> None:
    with pytest.raises(BadLine):
        line_codec.decode(line)


def test_an_outbox_never_blocks_and_is_bounded() -> None:
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    outbox = Outbox(write_end)
    sent = sum(outbox.send({"type": "x", "text": "y" * 1_000}) for _ in range(1_000))
    assert 0 < sent < 1_000
    assert outbox.dropped == 1_000 - sent
    os.close(read_end)
    outbox.flush()
    assert not outbox.waiting
    assert not outbox.send({"type": "x"})
    os.close(write_end)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"argv": []}, "argv"),
        ({"argv": ["a\0b"]}, "argv"),
        ({"argv": "true"}, "argv"),
        ({"env": {"A=B": "c"}}, "env"),
        ({"env": {"A": 1}}, "env"),
        ({"env": []}, "env"),
        ({"cwd": "relative"}, "cwd"),
        ({"log_path": ""}, "log_path"),
        ({"timeout_ms": -1}, "timeout_ms"),
        ({"timeout_ms": True}, "timeout_ms"),
        ({"step_id": None}, "step_id"),
        ({"req": "1"}, "req"),
        ({"type": "renew"}, "type"),
        ({"type": ["run"]}, "type"),
        ({"type": "stop"}, "grace_ms"),
        ({"type": "stop", "grace_ms": 1e9}, "grace_ms"),
    ],
)
def test_a_bad_request_names_its_field(change: dict[str, object], field: str) -> None:
    with pytest.raises(Refused, match=f"{field}:"):
        guard_protocol.check_request({**RUN, **change})
    assert guard_protocol.check_request(dict(RUN)) == "run"


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"type": st.sampled_from(guard_protocol.REQUESTS + local_protocol.FROM_EXEC + local_protocol.FROM_AGENT)},
        optional=dict.fromkeys(
            ["req", "step_id", "argv", "env", "cwd", "grace_ms", "epoch", "deadline_ns", "cause", "pid"], JSONS
        ),
    )
)
def test_no_message_raises_anything_but_a_refusal(message: dict[str, object]) -> None:
    line = json.dumps(message).encode()
    for check in (local_protocol.from_agent, local_protocol.from_exec):
        try:
            check(line)
        except Refused:
            continue
    try:
        guard_protocol.check_request(message)
    except Refused:
        return


def test_the_local_protocol_takes_its_own_messages() -> None:
    for message in (
        local_protocol.register("g", 12, 0, 0),
        local_protocol.running((3, 4), "pid-namespace", 1),
        local_protocol.down("x" * 9_999, 3),
    ):
        assert local_protocol.from_exec(line_codec.encode(message)) == message
    refusal = local_protocol.error("code", "text")
    assert local_protocol.from_agent(line_codec.encode(refusal)) == refusal
    with pytest.raises(Refused, match="version"):
        local_protocol.from_exec(line_codec.encode({**local_protocol.register("g", 1, 0, 0), "version": 2}))


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--group", "g", "true"], "'--'"),
        (["--group", "g", "--"], "command"),
        (["--", "true"], "--group"),
        (["--group", "UPPER", "--", "true"], "--group"),
        (["--group", "../x", "--", "true"], "--group"),
        (["--group", "g", "--frobnicate", "--", "true"], "unknown option"),
        (["--group", "g", "--wait", "soon", "--", "true"], "--wait"),
        (["--group", "g", "--wait", "nan", "--", "true"], "--wait"),
        (["--group", "--", "true"], "needs a value"),
    ],
)
def test_wrong_exec_options(arguments: list[str], why: str) -> None:
    with pytest.raises(exec_options.UsageError, match=why):
        exec_options.parse(arguments)


def test_help_is_asked_for_before_the_command_only() -> None:
    assert exec_options.asks_for_help(["--help"])
    assert exec_options.asks_for_help(["-h", "--", "x"])
    assert not exec_options.asks_for_help(["--group=g", "--", "x", "--help"])


def test_exec_options() -> None:
    options = exec_options.parse(["--group=g", "--wait", "2.5", "--", "sh", "-c", "--", "x"])
    assert (options.group, options.wait_s, options.command) == ("g", 2.5, ["sh", "-c", "--", "x"])
