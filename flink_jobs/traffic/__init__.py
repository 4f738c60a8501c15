"""Traffic for the detector: replayed card files, simulated customers, planted faults, and their ledger."""
