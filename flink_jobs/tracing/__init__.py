"""Traces (OpenTelemetry): the context of a trace, its spans as OTLP/JSON, and a sender that never blocks (ADR 39)."""
