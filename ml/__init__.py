"""Offline training, evaluation, backtests and drift checks. Only this package imports scikit-learn."""
