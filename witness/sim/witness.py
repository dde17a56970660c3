"""One simulated witness's machine, as everybody outside of it knows it: it has a process, or none at the moment.

What comes from outside reaches the process while it runs; while it is stopped or busy it waits in its sockets; when
there is none it is lost. The process is witness.sim.life, its engine and disk are witness.sim.raft's host.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from proto.commands import Command
from proto.messages import AgentMessage
from proto.units import GroupId, SiteId
from witness.core.node import WitnessNode
from witness.sim.desk import OnOutcome
from witness.sim.life import Life
from witness.sim.raft.host import Host

if TYPE_CHECKING:
    from witness.sim.stream import Stream


class WitnessHost:
    def __init__(self, host: Host) -> None:
        self.host = host
        self.id = host.name
        self.name = str(host.name)
        self.clock = host.clock
        self.life: Life | None = None

    @property
    def node(self) -> WitnessNode | None:
        return None if self.life is None else self.life.node

    @property
    def stopped(self) -> bool:
        return self.host.stopped

    # -- life ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.host.start()

    def crash(self) -> None:
        self.host.kill()

    def stop(self) -> bool:
        """SIGSTOP; True when it ran."""
        return self.host.stop()

    def go_on(self) -> None:
        self.host.go_on(self.host.life)

    def rearm(self) -> None:
        """The clock was changed."""
        self.host.rearm()

    # -- from outside ----------------------------------------------------------------------------------------

    def hello(self, stream: Stream) -> None:
        self._do(lambda life: life.desk.hello(stream))

    def hung_up(self, stream: Stream) -> None:
        self._do(lambda life: life.desk.hung_up(stream))

    def arrives(self, stream: Stream, message: AgentMessage) -> None:
        self._do(lambda life: life.desk.arrives(stream, message))

    def submit(self, command: Command, on_outcome: OnOutcome) -> None:
        self._do(lambda life: life.desk.submit(command, on_outcome))

    def switchover(self, group: GroupId, to: SiteId, on_outcome: OnOutcome) -> None:
        self._do(lambda life: life.desk.switchover(group, to, on_outcome))

    def _do(self, action: Callable[[Life], None]) -> None:
        life = self.life
        if life is not None:
            life.do(lambda: action(life))
