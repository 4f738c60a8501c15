"""Evaluates scores on labelled history: pure computation over arrays, and the reports written from it."""
