"""The configuration that control messages change while the job runs, and the messages themselves."""
