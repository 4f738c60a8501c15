"""Offline training: scikit-learn lives here and nowhere else; what leaves is an artifact of plain arrays."""
