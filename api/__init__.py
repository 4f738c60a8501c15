"""The HTTP service: payment systems send transactions and get decisions; programs read decisions and try rules."""
