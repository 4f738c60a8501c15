"""Traffic for the detector: simulated customers, planted faults, the ledger of sent records, the reconciliation."""
