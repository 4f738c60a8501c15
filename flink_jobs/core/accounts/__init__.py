"""Actions of people and payment systems on one customer: block, allow, watch, suppress a rule, clear."""
