"""A key that is one value of a MySQL or MariaDB database, through PyMySQL (the extra `mysql`).

Rule: the query gives one value or no row; the statement changes exactly one row, in one transaction, or nothing. Only
numbers of errors are told, because the server quotes values in their texts. One connection is kept for reading and
opened again after any fault; it commits by itself, so that every read sees what others wrote meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.license.own_thread import OwnThread, StillHangs
from agents.license.place import (
    SINK_REFUSED,
    SINK_UNREACHABLE,
    SOURCE_BAD_VALUE,
    SOURCE_UNREACHABLE,
    PlaceFault,
    too_long,
)
from agents.license.spec import VALUE_BYTES_MAX, PlaceSpec
from proto.edge.atomic_file import read_capped
from proto.errors import BadValue

if TYPE_CHECKING:
    import pymysql

PASSWORD_BYTES_MAX = 1_024
WORK_TIMES, MARGIN_S = 4, 1.0
"""Connect, say hello, ask, read: each within the timeout."""
NO_DRIVER = "PyMySQL is not installed: install thirdsite[mysql], or use kind: command"
_ROWS_OF_INSERT = (1, 2)
"""`INSERT ... ON DUPLICATE KEY UPDATE` counts two for the one row that it changes."""
_UNREACHABLE = frozenset({2002, 2003, 2005, 2006, 2013, 1040, 1053, 1152, 1158, 1159, 1160, 1161, 1203})
"""No connection, or none any more; everything else is an answer."""


def driver_problem() -> str:
    """'' when the library is there."""
    return "" if importlib.util.find_spec("pymysql") is not None else NO_DRIVER


class SqlPlace:
    """Source or sink, by its statement. Each has a connection of its own."""

    def __init__(self, spec: PlaceSpec) -> None:
        self._spec = spec
        self._connection: pymysql.connections.Connection[Any] | None = None
        self._thread = OwnThread(f"license {spec.user}")

    async def read(self) -> bytes | None:
        return _as_bytes(await self._off_the_loop(self._query, SOURCE_UNREACHABLE))

    async def write(self, value: bytes) -> None:
        try:
            await self._off_the_loop(lambda: self._execute(value), SINK_UNREACHABLE)
        finally:
            self._drop()

    async def close(self) -> None:
        self._drop()

    @property
    def _limit_s(self) -> int:
        """Of each network wait; whole seconds."""
        return max(1, self._spec.timeout_ms // 1_000)

    async def _off_the_loop(self, work: Any, code: str) -> Any:
        if driver_problem():
            raise PlaceFault(code, NO_DRIVER)
        try:
            return await self._thread.run(work, WORK_TIMES * self._limit_s + MARGIN_S)
        except (TimeoutError, StillHangs):
            where = self._spec.socket or f"{self._spec.host}:{self._spec.port}"
            raise PlaceFault(code, f"the database at {where} did not answer in time") from None
        except PlaceFault:
            self._drop()
            raise

    def _query(self) -> Any:
        import pymysql  # noqa: PLC0415 - an optional library, and only loaded where it is used

        try:
            connection = self._connected()
            with connection.cursor() as cursor:
                cursor.execute(self._spec.statement)
                rows = cursor.fetchmany(2)
        except (pymysql.MySQLError, OSError, ValueError) as error:
            raise self._fault(error, SOURCE_UNREACHABLE, SOURCE_UNREACHABLE) from None
        if len(rows) > 1 or any(len(row) != 1 for row in rows):
            raise PlaceFault(SOURCE_BAD_VALUE, "the query gives more than one value: select one column of one row")
        return rows[0][0] if rows else None

    def _execute(self, value: bytes) -> None:
        import pymysql  # noqa: PLC0415 - an optional library, and only loaded where it is used

        try:
            connection = self._connected()
            connection.begin()
            with connection.cursor() as cursor:
                count = cursor.execute(self._spec.statement, (_as_text(value),))
            inserts = self._spec.statement.lstrip()[:6].upper() == "INSERT"
            if count not in (_ROWS_OF_INSERT if inserts else (1,)):
                connection.rollback()
                raise PlaceFault(
                    SINK_REFUSED, f"the statement would change {count} rows: it must name exactly one, which is there"
                )
            connection.commit()
        except (pymysql.MySQLError, OSError, ValueError, TypeError) as error:
            raise self._fault(error, SINK_UNREACHABLE, SINK_REFUSED) from None

    def _fault(self, error: Exception, unreachable: str, refused: str) -> PlaceFault:
        where = self._spec.socket or f"{self._spec.host}:{self._spec.port}"
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        if number in _UNREACHABLE or isinstance(error, OSError):
            return PlaceFault(unreachable, f"the database at {where} is not reached (error {number})")
        return PlaceFault(refused, f"the database at {where} refuses with error {number} ({type(error).__name__})")

    def _connected(self) -> Any:
        import pymysql  # noqa: PLC0415 - an optional library, and only loaded where it is used
        from pymysql.constants import CLIENT  # noqa: PLC0415 - see above

        if self._connection is not None and self._connection.open:
            return self._connection
        spec = self._spec
        if spec.socket and not Path(spec.socket).is_socket():
            raise FileNotFoundError(errno.ENOENT, "the server's socket is not there")
        limit_s = self._limit_s
        where: dict[str, Any] = {"unix_socket": spec.socket} if spec.socket else {"host": spec.host, "port": spec.port}
        if spec.ca is not None:
            where |= {"ssl_ca": str(spec.ca), "ssl_verify_cert": True, "ssl_verify_identity": not spec.socket}
        self._connection = pymysql.connect(
            **where,
            user=spec.user,
            password=_password(spec.password_file),
            charset="utf8mb4",
            connect_timeout=limit_s,
            read_timeout=limit_s,
            write_timeout=limit_s,
            autocommit=True,
            client_flag=CLIENT.FOUND_ROWS,  # an update to the same value has found its row
        )
        return self._connection

    def _drop(self) -> None:
        if self._thread.busy:  # it ends with its own timeouts, and is used no more
            self._connection = None
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(Exception):  # it is broken, or closed already
                connection.close()


def _password(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        mode = path.stat().st_mode
        text = read_capped(path, PASSWORD_BYTES_MAX).decode("utf-8")
    except (OSError, BadValue, UnicodeDecodeError):
        raise PlaceFault(SOURCE_UNREACHABLE, f"{path} cannot be read as a password: a text file is expected") from None
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise PlaceFault(SOURCE_UNREACHABLE, f"{path} may be used by others: chmod 600 {path}")
    return text.rstrip("\r\n")


def _as_text(value: bytes) -> str | bytes:
    """As text where it is text, so that the column's character set applies."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _as_bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8")
    if len(raw) > VALUE_BYTES_MAX:
        raise too_long(VALUE_BYTES_MAX)
    return raw or None
