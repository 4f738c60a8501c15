"""Explains a recorded decision: its rules, its model score and the features behind both."""
