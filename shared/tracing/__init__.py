"""Traces of jobs for OpenTelemetry's collectors: off unless an endpoint is set."""
