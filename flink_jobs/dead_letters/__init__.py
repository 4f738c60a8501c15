"""Dead letters outside the job: read them, redrive each at most once, and report them every day."""
