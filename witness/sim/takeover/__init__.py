"""`takeover_max` against the simulator: sound timings, the worst moments for a site and a leader to die."""
