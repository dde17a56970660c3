"""The third layer of the model: break-glass permits, and how the witnesses take a site under permit back.

Like the layer of holds it stands on what the first one proves of votes. It has no holds: a permit is taken only
without an outstanding promise, and by the operator's word nobody else lives.
"""
