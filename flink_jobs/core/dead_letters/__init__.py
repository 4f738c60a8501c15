"""Dead letters: how they are built, and which of them can be redriven."""
