"""The `streamflow` command line."""
