"""How a witness's telling is put together from its settings; None where nobody is told of anything."""

from __future__ import annotations

from proto.clock import Clock
from witness.core.notify.settings import Means
from witness.notify.letter import Sender
from witness.notify.notifier import LedgerSource, Notifier
from witness.notify.outlet import COMMAND, LOADING, WorkerOutlet
from witness.runtime.driver import Driver
from witness.runtime.facade import Facade
from witness.settings import WitnessSettings


def make_notifier(settings: WitnessSettings, driver: Driver, facade: Facade, clock: Clock) -> Notifier | None:
    if settings.notify is None:
        return None
    source = LedgerSource(driver, facade, clock)
    sender = Sender(settings.cluster, settings.witness)
    loads = any(target.way.means == Means.APPRISE.value for target in settings.notify.targets)
    outlet = WorkerOutlet(clock, (*COMMAND, LOADING) if loads else COMMAND)
    return Notifier(settings.notify, sender, driver, source, outlet, clock)
