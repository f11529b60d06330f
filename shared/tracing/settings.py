"""Settings of tracing, under the names that OpenTelemetry gives them."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from shared.errors import SettingsInvalid


class TracingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`otel_exporter_otlp_endpoint`: base URL of a collector that takes OTLP over HTTP; empty: tracing is off.
    `otel_exporter_otlp_headers`: `name=value` pairs for it, separated by commas, values percent-encoded; may be a
    secret."""

    otel_exporter_otlp_endpoint: str = ""
    otel_exporter_otlp_headers: str = ""

    def __post_init__(self) -> None:
        if self.otel_exporter_otlp_endpoint and not _is_http(self.otel_exporter_otlp_endpoint):
            raise SettingsInvalid(
                "OTEL_EXPORTER_OTLP_ENDPOINT must be the URL of a collector, such as http://127.0.0.1:4318"
            )

    def __repr__(self) -> str:
        return "TracingSettings(...)"

    @property
    def url(self) -> str:
        """The address of spans below the endpoint."""
        return self.otel_exporter_otlp_endpoint.rstrip("/") + "/v1/traces"


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)
