"""Real witness processes that die at named moments under load; what was acknowledged must be there afterwards."""
