"""How a witness's telling is put together from its settings; None where nobody is told of anything."""

from __future__ import annotations

from proto.clock import Clock
from witness.notify.letter import Sender
from witness.notify.notifier import LedgerSource, Notifier
from witness.notify.outlet import WorkerOutlet
from witness.runtime.driver import Driver
from witness.runtime.facade import Facade
from witness.settings import WitnessSettings


def make_notifier(settings: WitnessSettings, driver: Driver, facade: Facade, clock: Clock) -> Notifier | None:
    if settings.notify is None:
        return None
    source = LedgerSource(driver, facade, clock)
    sender = Sender(settings.cluster, settings.witness)
    return Notifier(settings.notify, sender, driver, source, WorkerOutlet(clock), clock)
