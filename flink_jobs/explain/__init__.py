"""Why a transaction was decided as it was: the recorded decision, its rules and its model."""
