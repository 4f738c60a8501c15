"""Tree ensembles stored as plain arrays: checks, scoring, and exact attribution of a score to features."""
