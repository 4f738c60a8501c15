"""``python -m flink_jobs.cli``."""

from flink_jobs.cli.app import main

if __name__ == "__main__":
    main()
