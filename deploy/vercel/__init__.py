"""Entry points and configuration for Vercel: see docs/vercel.md."""
