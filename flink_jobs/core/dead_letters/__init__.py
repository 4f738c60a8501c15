"""Dead letters: how one is built, and which of them may be sent again."""
