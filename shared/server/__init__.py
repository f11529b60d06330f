"""The HTTP server below every application: uvicorn with deadlines and bounds of our own."""
