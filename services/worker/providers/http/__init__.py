"""The HTTP client below the SDKs."""
