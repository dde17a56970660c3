"""The timing compiler: from one wish and what was measured to every timer, or a refusal with both numbers. Pure."""
