"""The console: pages with which analysts review alerts. The process of the API serves them under ``/console``."""
