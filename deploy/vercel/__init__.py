"""What Vercel needs: see docs/vercel.md."""
