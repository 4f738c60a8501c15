"""The configuration of the running job, the control messages that change it, and their audit records."""
