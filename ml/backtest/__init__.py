"""Backtests: what another rule set or model would have decided, compared with what was decided, event by event."""
