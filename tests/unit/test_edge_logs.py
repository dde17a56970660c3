"""Lines carry fields, never secrets, and those of libraries take the same way."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from proto.edge.logs import REDACTED, VALUE_CHARS_MAX, get_logger, setup_logging
from proto.errors import BadValue


@pytest.fixture(autouse=True)
def logging_as_before():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(**options):
    out = io.StringIO()
    setup_logging(stream=out, **options)
    return lambda: [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_is_an_event_with_fields():
    read = lines()
    get_logger("witness.raft", witness="w1").info("peer_lost", peer="w2", after_ms=3)
    (line,) = read()
    assert line.pop("ts").endswith("Z")
    assert line == {
        "event": "peer_lost",
        "level": "info",
        "logger": "witness.raft",
        "witness": "w1",
        "peer": "w2",
        "after_ms": 3,
    }


@pytest.mark.parametrize(
    "field", ["password", "db_passwd", "token", "api_key", "key", "nonce", "claim", "client_secret", "Authorization"]
)
def test_secrets_do_not_appear(field):
    out = io.StringIO()
    setup_logging(stream=out, json=True)
    get_logger("x").error("failed", **{field: "hunter2"}, nested={"deep": [{field: "hunter2"}]})
    assert "hunter2" not in out.getvalue()
    assert json.loads(out.getvalue())[field] == REDACTED


def test_bytes_and_long_values_are_not_copied():
    read = lines()
    get_logger("x").info("frame", body=b"hunter2", text="y" * 10_000, many=[b"hunter2"])
    (line,) = read()
    assert line["body"] == "[7 bytes]"
    assert line["many"] == ["[7 bytes]"]
    assert len(line["text"]) == VALUE_CHARS_MAX + 1


def test_libraries_and_tracebacks_take_the_same_way():
    read = lines()
    try:
        raise ValueError("broken")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("handler %s", "failed")
        get_logger("x").exception("own")
    foreign, own = read()
    assert (foreign["event"], foreign["logger"], foreign["level"]) == ("handler failed", "aiohttp.server", "error")
    assert "ValueError: broken" in foreign["exception"]
    assert "ValueError: broken" in own["exception"]


def test_levels_filter_and_unknown_ones_are_refused():
    read = lines(level="warning")
    get_logger("x").info("quiet")
    logging.getLogger("lib").info("quiet")
    get_logger("x").warning("loud")
    assert [line["event"] for line in read()] == ["loud"]
    with pytest.raises(BadValue, match="one of debug, info, warning, error"):
        setup_logging(level="verbose")


def test_people_get_text():
    out = io.StringIO()
    setup_logging(stream=out, json=False)
    get_logger("x").info("started", port=7)
    assert "started" in out.getvalue()
    assert "port=7" in out.getvalue()


def test_a_logger_that_was_made_before_the_set_up_obeys_it() -> None:
    early = get_logger("early", witness="w1")
    out = io.StringIO()
    setup_logging(level="info", json=True, stream=out)
    early.info("hello")
    assert json.loads(out.getvalue())["witness"] == "w1"
