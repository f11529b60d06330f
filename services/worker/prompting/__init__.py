"""Turns a job's `parameters` into a system prompt and limits, and measures what came back. Pure; never sees the prompt.

The system prompt goes from what all jobs share to what only this one has (rules, platform, requirements), always in the
same order, so that a provider's prompt cache can hold its beginning.
"""

from __future__ import annotations

from services.worker.prompting.briefing import Brief, brief
from services.worker.prompting.reviewing import review

__all__ = ["Brief", "brief", "review"]
