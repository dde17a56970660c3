"""The registry: one row a scenario. A new kind of trial is a function in a file of its own and a line here."""

from __future__ import annotations

from fencerig.fence_ends_agent import AGENT_ENDS
from fencerig.fence_ends_kernel import KERNEL_ENDS
from fencerig.fence_ends_steps import STEP_ENDS
from fencerig.fence_stops import STOPS, WAKES
from fencerig.fence_trial import Scenario

SCENARIOS: dict[str, Scenario] = {one.name: one for one in (*STOPS, *WAKES, *STEP_ENDS, *AGENT_ENDS, *KERNEL_ENDS)}
