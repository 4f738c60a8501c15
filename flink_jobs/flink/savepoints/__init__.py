"""Read savepoints without a JVM: their operators, the customers' state, and whether a job can restore them."""
