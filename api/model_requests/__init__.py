"""Promotions and rollbacks of models by two persons: one requests, another approves, a process carries them out."""
