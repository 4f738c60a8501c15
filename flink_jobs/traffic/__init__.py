"""Traffic for the detector: simulated customers, planted faults, pacing, and the ledger of what was sent."""
