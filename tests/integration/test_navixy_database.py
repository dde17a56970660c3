"""deploy/navixy's database commands on two real servers that replicate: who writes, who follows, what is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from maria_rig import MariaServer, forget_seed, needs_mariadb, two_servers, until

__all__ = ["forget_seed"]  # a fixture

pytestmark = [pytest.mark.process, needs_mariadb]


@pytest.fixture
def servers() -> Iterator[tuple[MariaServer, MariaServer]]:
    """The first takes writes in epoch 1, the second follows it."""
    with two_servers() as (one, two):
        assert one.db("promote", 1) == (0, "takes writes in epoch 1")
        assert two.db("follow") == (0, "it follows 127.0.0.1")
        yield one, two


@pytest.fixture
def alone() -> Iterator[MariaServer]:
    """Takes writes in epoch 1."""
    with two_servers(started=1) as (one, _two):
        assert one.db("promote", 1) == (0, "takes writes in epoch 1")
        yield one


def no(server: MariaServer, command: str, epoch: int = 0) -> str:
    code, said = server.db(command, epoch)
    assert code == 1, said
    return said


def test_roles_of_two_that_replicate_and_change_places(servers: tuple[MariaServer, MariaServer]) -> None:
    one, two = servers
    one.sql("UPDATE google.variables SET value = 'key-2'")
    until(lambda: two.key() == "key-2", "it never came")
    assert "it takes writes" in no(one, "out-of-role")
    assert two.db("out-of-role") == (0, "read-only")
    for server in servers:
        assert server.db("standby-start") == (0, "read-only, following nobody")
    assert (one.db("lag-ms"), two.db("lag-ms")) == ((0, "0"), (0, "0"))
    assert two.db("applies") == (0, "it applies what it receives")
    talked = '{"group":"navixy","ports":{"7677/tcp":3}}'
    assert one.db("remember-ports", said=talked) == (0, "kept")
    assert two.db("remember-ports", said=talked) == (0, "dormant: nothing is kept")
    assert "no earlier epoch kept its ports" in no(one, "ports-before")
    # A handover, in the order of the plans: the lag is nothing, then the other takes over.
    assert one.db("demote") == (0, "read-only")
    assert one.db("demote") == (0, "was read-only")
    assert two.db("promote", 2) == (0, "takes writes in epoch 2")
    assert two.db("promote", 2) == (0, "takes writes in epoch 2"), "a step may run again"
    assert two.db("ports-before") == (0, talked), "who takes over knows who talked before"
    assert one.db("follow") == (0, "it follows 127.0.0.1")
    two.sql("UPDATE google.variables SET value = 'key-3'")
    until(lambda: one.key() == "key-3", "it never came back")
    assert "seen 2" in no(one, "promote", 1), "a step that comes late is refused by the database itself"
    assert "it takes writes" in no(two, "follow")


def test_a_former_primary_comes_up_read_only_and_rejoins_only_if_it_has_not_parted(
    servers: tuple[MariaServer, MariaServer],
) -> None:
    one, two = servers
    until(lambda: two.sql("SELECT epoch FROM thirdsite.epoch") == "1", "the epoch never came")
    two.sql("STOP REPLICA IO_THREAD")
    one.sql("UPDATE google.variables SET value = 'key-2'")
    one.kill()
    assert one.db("out-of-role")[1].startswith("dead: nobody uses")
    assert "applies" in two.db("applies")[1], "the other site is gone; what was received is there"
    assert "Replica_IO_Running is No" in no(two, "lag-ms")
    assert two.db("promote", 2)[0] == 0
    assert two.key() == "key-1", "the exchange was lost with the site"
    one.start()
    assert one.db("out-of-role") == (0, "read-only")
    assert "not set up to follow" in no(one, "applies")
    said = no(one, "follow")
    assert "this database has parted from the other" in said
    assert said.endswith("seed it anew")
    assert "Replica_IO_Running is No" in no(one, "follows"), "so the site stays in quarantine"
    assert "out_of_role: yes, read-only" in one.db("status")[1]


def test_a_lock_in_the_way_does_not_keep_it_writable_and_a_start_that_would_take_writes_is_found(
    alone: MariaServer,
) -> None:
    holder = alone.hold("LOCK TABLES google.variables WRITE; SELECT SLEEP(60);")
    try:
        busy = "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User sleep'"
        until(lambda: alone.sql(busy) == "1", "the lock was never held")
        assert alone.db("demote") == (0, "read-only")
    finally:
        holder.kill()
        holder.wait()
    text = alone.options.read_text()
    alone.options.write_text(text.replace("read_only = ON", "read_only = OFF"))
    assert "it would come up taking writes" in no(alone, "standby-start")
    alone.options.write_text(text.replace("skip_slave_start = ON\n", ""))
    assert "would follow by itself" in no(alone, "standby-start")
    alone.navixy_db.write_text("[client]\n")
    assert "cannot be used" in no(alone, "out-of-role")
