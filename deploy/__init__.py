"""deploy: the command line, and the supervisor that launches, restarts and watches the processes."""
