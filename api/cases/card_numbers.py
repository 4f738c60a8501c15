"""Card numbers in free text that analysts write."""

from flink_jobs.card_numbers import has_card_number, passes_luhn

__all__ = ["has_card_number", "passes_luhn"]
