#!/usr/bin/env python3
"""The database of a Navixy site, for the agent's steps, checks and probes: MySQL 8.0, or MariaDB 10.5 and newer.

Rule: the database comes up read-only and following nobody, whoever starts it; only `promote` makes it writable, until
its next start at most, and never for an epoch below the highest that it saw. Each command may be run again.
Exit codes: 0 yes or done, 1 no, with the reason as the last line, 64 wrong usage.

    out-of-role     it is dead or read-only                 promote   applies what it received, then takes writes
    standby-start   its next start is in the standby role   demote    read-only, at once, whoever is connected
    applies         it follows, or did until now            follow    replicates from the other site
    follows         it follows the other site now           lag-ms    prints how far it is behind
    listens         only at addresses of its own network                  status    what it is, in words

    remember-ports  keeps what `site-agent ports show --json` says on stdin, for the other site
    ports-before    prints what was kept last in an earlier epoch, for `site-agent ports silent`

Needs Python 3.11 and the database's own client. docs/operating/navixy.md says how it is set up.
Rejected: SET PERSIST (a promotion would outlive a crash), a replica that starts by itself (a former primary would
follow before anybody knows whether the two had parted).
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

from navixy_server import ASK_S, Config, Database, No, Refused, Silent, ask, data_directory, require_dead, start_options

CONFIG = "/etc/thirdsite/navixy-db.cnf"
LOOK_S = 0.1
PORTS_BYTES_MAX = 1024 * 1024
APPLY_S = 60
CONNECT_S = 20
EXIT_NO = 1
EXIT_USAGE = 64
YES = ("1", "ON", "TRUE", "YES", "")


def out_of_role(database: Database) -> str:
    try:
        if database.read_only():
            return "read-only"
    except Silent as silent:
        return require_dead(database.config, silent)
    raise No("it takes writes")


def standby_start(database: Database) -> str:
    """By the files that the next start reads, whether a server runs or not."""
    config = database.config
    options = start_options(config)
    wanted = "read-only" if config.mariadb else "super-read-only"
    if options.get(wanted, "OFF").upper() not in YES:
        raise No(f"{wanted.replace('-', '_')} = ON is not in its option file: it would come up taking writes")
    skips = [options.get(name) for name in ("skip-replica-start", "skip-slave-start")]
    if not any(value is not None and value.upper() in YES for value in skips):
        raise No("skip_replica_start is not in its option file: a former primary would follow by itself")
    persisted = data_directory(config, options) / "mysqld-auto.cnf"
    try:
        if not config.mariadb and "read_only" in persisted.read_text(encoding="utf-8"):
            raise No(f"{persisted} sets read_only (somebody used SET PERSIST): RESET PERSIST it")
    except FileNotFoundError:
        return "read-only, following nobody"
    except OSError as error:
        raise No(f"{persisted} cannot be read: {error.strerror}") from error
    return "read-only, following nobody"


def listens(database: Database) -> str:
    """By the files that the next start reads; what a firewall lets through is not seen here."""
    config = database.config
    if config.data:
        return "in a container: what its engine publishes decides, and that passes by many a firewall (compose.yaml)"
    options = start_options(config)
    if "skip-networking" in options and options["skip-networking"].upper() in YES:
        return "at no address"
    said = options.get("bind-address") or "*"
    for address in said.split(","):
        if _anybodys(address.strip().partition("/")[0]):
            raise No(f"bind_address = {said}: {address.strip()} is for everybody whom the firewall lets through")
    return f"at {said}"


def _anybodys(address: str) -> bool:
    """All addresses of the host, or one that the internet knows. A name is looked up by the server alone."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address == "*"
    return found.is_unspecified or found.is_global


def applies(database: Database) -> str:
    """Fit to be promoted: also while the other site cannot be reached, if it was since this replica was started."""
    if not database.read_only():
        return "it takes writes"
    status = _following(database)
    if status.get("Replica_SQL_Running") != "Yes":
        raise No(f"it applies nothing: {status.get('Last_SQL_Error') or 'its SQL thread was stopped; start it'}")
    if status.get("Source_Server_Id", "0") == "0":
        raise No(f"it has not reached {status.get('Source_Host')} since it was started: {status.get('Last_IO_Error')}")
    return "it applies what it receives"


def follows(database: Database) -> str:
    if not database.read_only():
        raise No("it takes writes")
    status = _following(database)
    for thread, error in (("Replica_IO_Running", "Last_IO_Error"), ("Replica_SQL_Running", "Last_SQL_Error")):
        if status.get(thread) != "Yes":
            raise No(f"{thread} is {status.get(thread)}: {status.get(error) or 'no error is told'}")
    return f"it follows {status.get('Source_Host')}"


def lag_ms(database: Database) -> str:
    """0 of the one that takes writes. Without contact nothing is known: the last known lag goes on counting."""
    if not database.read_only():
        return "0"
    behind = _following(database).get("Seconds_Behind_Source", "NULL")
    if follows(database) and behind.isdigit():
        return str(int(behind) * 1_000)
    raise No("the server does not know how far it is behind")


def status(database: Database) -> str:
    said = [f"epoch {database.highest_epoch()}"]
    for look in (out_of_role, standby_start, listens, applies, follows):
        try:
            said.append(f"{look.__name__}: yes, {look(database)}")
        except No as no:
            said.append(f"{look.__name__}: no, {no}")
    return "\n".join(said)


def _following(database: Database) -> dict[str, str]:
    """Raises No for a database that is no replica."""
    found = database.replica()
    if not found:
        raise No("it is not set up to follow: run `navixy_db.py follow`")
    return found


def promote(database: Database) -> str:
    epoch, site = _step()
    seen = database.highest_epoch()
    if seen > epoch:
        raise No(f"epoch {epoch} is over: this database has seen {seen}")
    if database.read_only() and database.replica():
        database.ask("STOP REPLICA IO_THREAD;", seconds=CONNECT_S)
        until(lambda: unapplied(database), APPLY_S)
        database.ask("STOP REPLICA;", seconds=CONNECT_S)
    # Somebody may have been promoted while the rest was applied.
    if (seen := database.highest_epoch()) > epoch:
        raise No(f"epoch {epoch} is over: this database has seen {seen}")
    database.set_read_only(on=False)
    database.note_epoch(epoch, site)
    return f"takes writes in epoch {epoch}"


def demote(database: Database) -> str:
    try:
        if database.read_only():
            return "was read-only"
        try:
            database.set_read_only(on=True)
        except Refused:  # a transaction or a lock in the way
            database.drop_connections()
            database.set_read_only(on=True)
    except Silent as silent:
        return require_dead(database.config, silent)
    return "read-only"


def follow(database: Database) -> str:
    """Refused where the two have parted: then this one is seeded anew."""
    config = database.config
    if not database.read_only():
        raise No("it takes writes: a site that is active follows nobody")
    executed = "@@global.gtid_executed"
    if config.mariadb:  # the first is empty on a server that was seeded and has logged nothing yet
        executed = "IF(@@global.gtid_binlog_pos = '', @@global.gtid_slave_pos, @@global.gtid_binlog_pos)"
    own, theirs = (text.replace("\n", "") for text in (database.value(executed), _theirs(config, executed)))
    extra = parted(own, theirs) if config.mariadb else database.value(f"GTID_SUBTRACT('{own}', '{theirs}')")
    if extra:
        raise No(f"this database has transactions that the other has not: {' '.join(extra.split())}; seed it anew")
    word = "MASTER" if config.mariadb else "SOURCE"
    values = {"HOST": config.source_host, "USER": config.source_user, "PASSWORD": config.source_password}
    where = ", ".join(f"{word}_{name} = '{value}'" for name, value in values.items())
    where += f", {word}_PORT = {config.source_port}, {word}_CONNECT_RETRY = 2"
    database.ask("STOP REPLICA;", seconds=CONNECT_S)
    if config.mariadb:
        database.ask(f"SET GLOBAL gtid_slave_pos = '{own}'; CHANGE MASTER TO {where}, MASTER_USE_GTID = slave_pos;")
    else:
        database.ask(f"CHANGE REPLICATION SOURCE TO {where}, SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1;")
    database.ask("START REPLICA;", seconds=CONNECT_S)
    until(lambda: _not_yet(database), CONNECT_S)
    return follows(database)


def _not_yet(database: Database) -> str:
    """Raises No for what waiting does not mend: MariaDB finds only here that the two have parted."""
    found = database.replica()
    if found.get("Replica_IO_Running") == "No" and found.get("Last_IO_Errno", "0") == "1236":
        raise No(f"this database has parted from the other: {found.get('Last_IO_Error')}; seed it anew")
    return says_no(follows, database)


def remember_ports(database: Database) -> str:
    """In the database, because that is where the other site has it after a takeover, too."""
    if database.read_only():
        return "dormant: nothing is kept"
    try:
        said = json.loads(sys.stdin.read(PORTS_BYTES_MAX))
    except ValueError as error:
        raise No(f"stdin is not what `site-agent ports show --json` prints: {error}") from error
    database.note_ports(database.highest_epoch(), json.dumps(said, separators=(",", ":")))
    return "kept"


def ports_before(database: Database) -> str:
    said = database.value(
        "said FROM thirdsite.ports WHERE epoch < (SELECT MAX(epoch) FROM thirdsite.epoch) ORDER BY epoch DESC LIMIT 1"
    )
    if not said:
        raise No("no earlier epoch kept its ports: is remember-ports run on both sites?")
    return said


def _theirs(config: Config, expression: str) -> str:
    """What the other site's database has executed, asked as the replication's user."""
    where = (f"--host={config.source_host}", f"--port={config.source_port}", f"--user={config.source_user}")
    options = ("--no-defaults", "--protocol=tcp", "--skip-column-names", *where)
    statement = f"SELECT {expression};"
    try:
        return ask(config.client, options, statement, ASK_S, password=config.source_password).strip()
    except No as no:
        raise No(f"the other site's database cannot be asked: {no}") from no


def parted(own: str, theirs: str) -> str:
    """MariaDB's positions (`domain-server-number,...`) that the other has not reached; "" when it has all of them."""
    reached = {one.split("-")[0]: int(one.split("-")[2]) for one in theirs.split(",") if one}
    same = set(theirs.split(","))
    ours = [one for one in own.split(",") if one and one not in same]
    return ",".join(one for one in ours if int(one.split("-")[2]) >= reached.get(one.split("-")[0], 0))


def unapplied(database: Database) -> str:
    """'' when everything that was received is applied. Raises No when nobody applies the rest."""
    found = database.replica()
    read = found.get("Source_Log_File"), found.get("Read_Source_Log_Pos")
    done = found.get("Relay_Source_Log_File"), found.get("Exec_Source_Log_Pos")
    if read == done:
        return ""
    if found.get("Replica_SQL_Running") != "Yes":
        raise No(f"what was received is not applied: {found.get('Last_SQL_Error') or 'the SQL thread was stopped'}")
    return f"received {read}, applied {done}"


def says_no(look: Callable[[Database], str], database: Database) -> str:
    """Why not, '' for yes."""
    try:
        look(database)
    except No as no:
        return str(no)
    return ""


def until(wrong: Callable[[], str], seconds: float) -> None:
    """Raises No with what is still wrong at the end."""
    ends = time.monotonic() + seconds
    while said := wrong():
        if time.monotonic() > ends:
            raise No(f"not within {seconds:g} s: {said}")
        time.sleep(LOOK_S)


def _step() -> tuple[int, str]:
    """Epoch and site of the step that this is."""
    epoch, site = os.environ.get("THIRDSITE_EPOCH", ""), os.environ.get("THIRDSITE_SITE", "")
    if not epoch.isdigit() or not re.fullmatch(r"[a-z0-9-]{1,64}", site):
        raise No("promote is an activation step: the agent sets THIRDSITE_EPOCH and THIRDSITE_SITE")
    return int(epoch), site


COMMANDS: dict[str, Callable[[Database], str]] = {
    one.__name__.replace("_", "-"): one
    for one in (out_of_role, standby_start, listens, applies, follows, lag_ms, status, promote, demote, follow)
}
COMMANDS |= {"remember-ports": remember_ports, "ports-before": ports_before}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="navixy_db.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("-c", "--config", type=Path, default=Path(CONFIG), help=f"default {CONFIG}")
    parser.add_argument("command", choices=COMMANDS)
    try:
        options = parser.parse_args(arguments)
    except SystemExit as leaving:
        return EXIT_USAGE if leaving.code else 0
    try:
        print(COMMANDS[options.command](Database(Config.load(options.config))))
    except No as no:
        print(f"navixy_db.py: {options.command}: {no}", file=sys.stderr)
        return EXIT_NO
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
