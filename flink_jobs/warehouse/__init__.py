"""What turns the tables that the archive job writes into marts; runs in both Python environments."""
