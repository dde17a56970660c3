"""An agent's core with one license: a disk that keeps what the core asks to be sealed, and a witness played by hand."""

from __future__ import annotations

from dataclasses import replace

from agent_rig import W1, AgentRig, G
from site_license_rig import L, sealed

from agents.core.effects import SealKey, Send
from agents.core.license import KeptKeys, Look
from agents.core.settings import LicenseSettings
from proto.decisions import Reason
from proto.license import EscrowItem, SealedKey
from proto.messages import EscrowPut, EscrowPutAnswer, EscrowValue
from proto.units import Epoch

LICENSE = LicenseSettings(L, required=True, lock_delay_ms=0)


def kept(newest: SealedKey | None, *, opens: bool = True, **fields) -> KeptKeys:
    held = newest.version if newest is not None and opens else None
    return KeptKeys(newest, opens, held, **fields)


class LicenseRig(AgentRig):
    """With a disk that keeps what the core asks to be sealed, and a witness that is asked by hand."""

    def __init__(
        self, at_start: KeptKeys | None = None, lock_delay_ms: int = 0, *, watched: bool = False, **group
    ) -> None:
        super().__init__(licenses=(replace(LICENSE, lock_delay_ms=lock_delay_ms, watched=watched),), **group)
        self.group.licenses.told = True
        if at_start is not None:
            self.agent.license_kept(G, L, at_start, "", self.clock.read())
            self.take()

    def looks(
        self, look: Look = Look.SAME, problem: str = "", *, epoch: int | None = None, reseal: bool = False
    ) -> None:
        held = self.group.holder.epoch if epoch is None else Epoch(epoch)
        self.agent.license_looked(G, L, look, problem, held, self.clock.read(), reseal=reseal)
        self.take()

    def asked(self) -> list[SealKey]:
        return self.all_of(SealKey)

    def seals(self) -> SealedKey:
        """The shell does what it was asked last."""
        found = self.asked()[-1].version
        made = sealed(*found)
        self.agent.license_sealed(G, L, kept(made), "", self.clock.read())
        self.take()
        return made

    def looked_last(self) -> None:
        self.agent.license_looked_last(G, L, self.clock.read())
        self.take()

    def puts(self) -> list[EscrowPut]:
        return [one.message for one in self.all_of(Send) if isinstance(one.message, EscrowPut)]

    def put_answered(self, reason: Reason = Reason.OK, stored=None, version_next: int = 0) -> None:
        put = self.puts()[-1]
        stored = put.sealed.version if stored is None and reason is Reason.OK else stored
        answer = EscrowPutAnswer(put.nonce, G, L, reason, stored, version_next or put.sealed.version.version + 1)
        self.agent.received(W1, answer, self.clock.read())
        self.take()

    def value(self, one: SealedKey) -> None:
        self.agent.received(W1, EscrowValue(G, EscrowItem(L, one)), self.clock.read())
        self.take()

    def probed(self, activated: bool | None, problem: str = "") -> None:
        self.agent.license_probed(G, L, activated, problem, self.clock.read())
        self.take()

    @property
    def said(self):
        (one,) = self.report.licenses
        return one


def holder(epoch: int = 2, **fields) -> LicenseRig:
    rig = LicenseRig(**fields)
    rig.active(epoch)
    return rig


def stopping(rig: LicenseRig) -> None:
    """Told to stop: verified down, with the bound stored and a heartbeat answered."""
    rig.agent.shutdown(rig.clock.read())
    rig.take()
    rig.finished()
    rig.stored()
    rig.answer(rig.fresh_beat())
