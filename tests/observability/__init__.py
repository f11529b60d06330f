"""What Prometheus and Grafana are told."""
