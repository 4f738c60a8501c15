"""Changes of the rules by two persons: one proposes, another one approves, and the detector gets a control message."""
