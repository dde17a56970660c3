"""The second layer of the model: holds, re-grant in place, promises, cold starts, and sites that come and go.

It stands on what the first layer proves: votes end a lease (epoch, renewal) at the earliest one longest authority
after that renewal was committed. So no witnesses, timers or votes here: a lease keeps for how long they cannot end
it yet, and may end at any moment from then on. What is left is small enough for the sites to talk to each other.

Read state.py, rules.py, moves.py, reduce.py, claims.py, scenarios.py, mutations.py, as in the layer below.
"""
