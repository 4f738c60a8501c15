"""Cases of fraud analysts: alerts become cases, verdicts become labels, and the outbox delivers them."""
