"""Jobs of the console that take longer than a request; each runs in a process of its own."""
