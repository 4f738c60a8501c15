"""The metric catalogue, and the Grafana dashboards and Prometheus rules that are generated from it."""
