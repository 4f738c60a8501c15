"""Judging scores on labelled history: pure computation over arrays, and what is written from it."""
