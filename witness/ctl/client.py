"""Requests to the cluster by way of whichever witness answers: in turn, within one budget, never twice by accident.

A change is sent to another witness only when it certainly did not reach the first, or when that one says that
nothing was decided (503). When an answer stays out after a change was sent, nobody knows: the text says so, and
what to look at. Plain http.client: the tool starts fast, and one connection is kept for what follows.
"""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from proto.clock import Clock, SystemClock
from proto.edge.config_types import Address
from proto.units import NS_PER_S
from witness.ctl.errors import Refused, Unreachable

CONNECT_S = 3.0
BUDGET_S = 20.0
ANSWER_BYTES_MAX = 64 * 1024 * 1024
RETRIED_STATUS = frozenset({429, 503})
"""Nothing was decided there: another witness may be able to."""
UNDECIDED_STATUS = frozenset({503, 504})


@dataclass(frozen=True, slots=True)
class Answer:
    """What one witness said."""

    status: int
    body: dict[str, Any]
    witness: Address

    @property
    def ok(self) -> bool:
        return self.status == 200


class ClusterClient:
    def __init__(
        self,
        witnesses: Sequence[Address],
        context: ssl.SSLContext,
        *,
        budget_s: float = BUDGET_S,
        clock: Clock | None = None,
    ) -> None:
        self.witnesses = tuple(witnesses)
        self._context = context
        self._budget_s = budget_s
        self._clock = clock or SystemClock()
        self._preferred: Address | None = None
        self._kept: tuple[Address, http.client.HTTPSConnection] | None = None

    # -- what commands use ----------------------------------------------------------------------------------

    def get(self, path: str) -> dict[str, Any]:
        """Raises Refused or Unreachable."""
        return checked(self.ask("GET", path)).body

    def change(self, method: str, path: str, body: dict[str, Any]) -> Answer:
        """Any answer that a witness gave, refusals included; Unreachable when none did."""
        return self.ask(method, path, body)

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        deadline = self._clock.now() + int(self._budget_s * NS_PER_S)
        said: list[str] = []
        undecided: Answer | None = None
        for witness in self._in_turn():
            left_s = (deadline - self._clock.now()) / NS_PER_S
            if left_s <= 0:
                said.append(f"{witness}: not tried, the {self._budget_s:.0f} s are over")
                continue
            try:
                connection = self._connection(witness, min(CONNECT_S, left_s))
            except OSError as error:
                said.append(f"{witness}: {_words(error)}")
                continue
            answer = self._exchange(connection, witness, method, path, body, left_s, said)
            if answer is None:
                continue
            if answer.status not in RETRIED_STATUS:
                return answer
            undecided = answer
        if undecided is not None:
            return undecided
        raise Unreachable("no witness answered:\n  " + "\n  ".join(said))

    def ask_one(
        self,
        witness: Address,
        path: str,
        wait_s: float = CONNECT_S,
        *,
        method: str = "GET",
        body: dict[str, Any] | None = None,
    ) -> Answer:
        """That witness and no other. Raises Unreachable."""
        said: list[str] = []
        try:
            connection = self._connection(witness, min(CONNECT_S, wait_s))
        except OSError as error:
            raise Unreachable(_words(error)) from error
        answer = self._exchange(connection, witness, method, path, body, wait_s, said)
        if answer is None:
            raise Unreachable(said[0].removeprefix(f"{witness}: "))
        return answer

    def prefer(self, witness: Address) -> None:
        """Asks that one first from now on."""
        self._preferred = witness

    def close(self) -> None:
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None

    # -- the work between -----------------------------------------------------------------------------------

    def _in_turn(self) -> list[Address]:
        """The preferred one comes first, else the one that answered last."""
        first = self._preferred or (self._kept[0] if self._kept is not None else self.witnesses[0])
        return [first, *(witness for witness in self.witnesses if witness != first)]

    def _connection(self, witness: Address, wait_s: float) -> http.client.HTTPSConnection:
        if self._kept is not None and self._kept[0] == witness:
            return self._kept[1]
        self.close()
        connection = http.client.HTTPSConnection(witness.host, witness.port, timeout=wait_s, context=self._context)
        connection.connect()
        self._kept = (witness, connection)
        return connection

    def _exchange(
        self,
        connection: http.client.HTTPSConnection,
        witness: Address,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        wait_s: float,
        said: list[str],
    ) -> Answer | None:
        """None, with a word in `said`, when another witness may be asked instead."""
        data = None if body is None else json.dumps(body).encode()
        try:
            if connection.sock is not None:
                connection.sock.settimeout(wait_s)
            connection.request(method, path, body=data, headers={"Content-Type": "application/json"})
            response = connection.getresponse()
            raw = response.read(ANSWER_BYTES_MAX)
            return Answer(response.status, _object(raw), witness)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            if method != "GET":
                raise Unreachable(
                    f"{witness} gave no answer ({_words(error)}) after the request was sent; it may have been "
                    "done: look at `witnessctl status` before you repeat it"
                ) from error
            said.append(f"{witness}: {_words(error)}")
            return None


def checked(answer: Answer) -> Answer:
    """The answer itself when it is a yes; else Refused, or Unreachable when nothing was decided."""
    if answer.ok:
        return answer
    text = refusal_words(answer.body)
    raise (Unreachable if answer.status in UNDECIDED_STATUS else Refused)(text)


def refusal_words(body: dict[str, Any]) -> str:
    """Reason code, words, detail and next step, as the witness gave them."""
    text = f"refused ({body.get('reason', '?')}): {body.get('words', 'no words')}"
    if body.get("detail") not in (None, "", body.get("words")):
        text += f"\n  seen: {body['detail']}"
    if body.get("next"):
        text += f"\n  next: {body['next']}"
    return text


def group_path(group: str, rest: str = "") -> str:
    return f"/v1/groups/{quote(group, safe='')}{rest}"


def _object(raw: bytes) -> dict[str, Any]:
    value = json.loads(raw)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - joins json's own ValueError
    return value


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate does not hold ({error.verify_message or error}): is that a witness of this cluster, "
            "called by a name in its certificate, and `ca` this cluster's ca.pem?"
        )
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
