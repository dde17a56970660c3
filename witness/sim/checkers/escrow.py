"""Escrow: stored versions never go back, and nobody begins with a key that is older than one that was acknowledged.

It plays the vendor, too: each exchange gives the next key, by number. A key that was exchanged and reached no witness
before its site died cannot be known elsewhere; what a majority of the witnesses acknowledged must be.
"""

from __future__ import annotations

from proto.decisions import Reason
from proto.license import EscrowVersion, SealedKey, version_words
from proto.messages import EscrowPut, EscrowPutAnswer
from proto.units import GroupId, LicenseName, Nonce
from witness.sim.life import Life
from witness.sim.raft.checkers import Findings

Place = tuple[GroupId, LicenseName]


class EscrowChecker:
    def __init__(self, findings: Findings) -> None:
        self.begun = 0
        """Activations that were judged against an acknowledged key."""
        self._found = findings.found
        self._keys: dict[Place, int] = {}
        self._acknowledged: dict[Place, tuple[int, EscrowVersion]] = {}
        self._put: dict[Nonce, SealedKey] = {}
        self._stored: dict[int, tuple[Life, dict[Place, EscrowVersion]]] = {}
        """By process of a witness; held, so that no other one has its identity."""

    def exchanged(self, place: Place) -> int:
        self._keys[place] = self._keys.get(place, 0) + 1
        return self._keys[place]

    def sent(self, put: EscrowPut) -> None:
        self._put[put.nonce] = put.sealed

    def answered(self, answer: EscrowPutAnswer) -> None:
        """Told to the agent; whatever was acknowledged before stays so."""
        sealed = self._put.pop(answer.nonce, None)
        if sealed is None or answer.reason is not Reason.OK:
            return
        place, key = (answer.group, answer.license), int(sealed.box[:16])
        if key > self._acknowledged.get(place, (0, sealed.version))[0]:
            self._acknowledged[place] = key, sealed.version

    def begins(self, place: Place, host: str, key: int) -> None:
        found = self._acknowledged.get(place)
        if found is None:
            return
        self.begun += 1
        if key < found[0]:
            says = f"{host} begins with key {key} of {place[1]}, but {version_words(found[1])} with key {found[0]}"
            self._found("escrow", f"{says} had been acknowledged")

    def applied(self, life: Life) -> None:
        _, before = self._stored.setdefault(id(life), (life, {}))
        for group, state in life.node.machine.state.groups.items():
            for name, record in state.escrow.kept.items():
                version, was = record.sealed.version, before.get((group, name))
                if was is not None and (version < was or version.version < was.version):
                    says = f"{version_words(was)} was stored, then {version_words(version)}"
                    self._found("escrow", f"{life.witness}: {group}, {name}: {says}")
                before[group, name] = version
