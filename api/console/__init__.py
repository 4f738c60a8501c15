"""The console: pages with which analysts review alerts. They are served by the process of the API under ``/console``."""
