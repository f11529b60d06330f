"""The configuration of Prometheus and Grafana."""
