"""How an agent's or a member's process ends (docs/reference/README.md has them all)."""

EXIT_USAGE = 64
EXIT_UNAVAILABLE = 69
EXIT_CUT_SHORT = 75
EXIT_CONFIG = 78
