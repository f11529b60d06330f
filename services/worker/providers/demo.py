"""Writes plausible marketing copy without a key or a network: the provider of laptops, demos and tests.

The text follows from the job id, so a job that is run again writes the same.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Mapping
from typing import Final

import msgspec

from services.worker.providers import Action, Completion, GenerationRequest, ProviderError
from services.worker.providers.demo_values import demo_value
from services.worker.providers.requests.dialects import last_said
from shared.job import JobError, ParameterValue, Usage

WORDS: Final = {"short": 24, "medium": 70, "long": 170}
"""Least number of words by length; a word counts as one token here."""

_OPENINGS: Final = {
    "professional": ("We are pleased to introduce {topic}.", "Meet {topic}, built for teams that mean business."),
    "casual": ("Guess what? {topic} is here.", "Say hello to {topic}!"),
    "playful": ("Drumroll, please: {topic} has landed.", "Plot twist: {topic} just made your day."),
    "urgent": ("Today only: discover {topic}.", "The wait is over: {topic} is available now."),
}
_SENTENCES: Final = (
    "It saves hours of routine work, so your team can spend them where they count.",
    "Early customers tell us that the first results showed up within a week.",
    "Every detail was shaped by conversations with people who do this work each day.",
    "You keep full control, with clear numbers at every step of the way.",
    "Setting it up takes minutes, and there is nothing new to learn.",
    "Behind it stands a simple idea: good tools should stay out of the way.",
    "See for yourself how small changes add up to lasting growth.",
    "It fits into what you already use, from the first draft to the final report.",
    "Quality stays consistent, whether you publish once a month or ten times a day.",
    "Our team is on hand whenever a question comes up.",
)
_CLOSINGS: Final = {
    "linkedin": "What would your team do with the time it gets back?",
    "x": "Try it today.",
    "instagram": "Tap the link in our bio and take a look.",
    "facebook": "Tell us in the comments what you think.",
    "email": "Just reply to this message and we will set you up.",
}
_TOPIC: Final = re.compile(r"\b(?:about|for|on|introducing|promoting)\s++(.{3,60}?)(?:[.,;:!?\n]|$)", re.IGNORECASE)


def compose(job_id: str, prompt: str, parameters: Mapping[str, ParameterValue]) -> list[str]:
    """The text as words with the spaces after them; the same for the same job."""
    chance = random.Random(job_id)  # noqa: S311 - a seeded choice of sentences
    found = _TOPIC.search(prompt)
    topic = found.group(1).strip() if found else "our latest offer"
    openings = _OPENINGS.get(str(parameters.get("tone", "")).lower(), _OPENINGS["professional"])
    wanted = WORDS.get(str(parameters.get("length", "")).lower(), WORDS["medium"])
    closing = _CLOSINGS.get(str(parameters.get("platform", "")).lower(), "Find out more on our website.")
    words = openings[int(chance.random() * len(openings))].format(topic=topic).split()
    at = int(chance.random() * len(_SENTENCES))
    while len(words) + 6 < wanted:
        words += _SENTENCES[at % len(_SENTENCES)].split()
        at += 3
    words += closing.split()
    return [words[0], *(f" {word}" for word in words[1:])]


def compose_json(words: list[str], schema: dict[str, object]) -> list[str]:
    """A JSON text that fits a simple schema, made of these words, in pieces."""
    text = msgspec.json.encode(demo_value(schema, "".join(words))).decode()
    return re.findall(r"\s*\S+", text)


class DemoProvider:
    """`first_token_ms` before the first word, then `tokens_per_second` (0: no delay at all).

    `failure_rate` of the attempts (0 to 1) fail in the middle, decided by job id and attempt. `mismatches`: so many
    answers to a job with a schema are plain words instead: 1, that the first is repaired; 2, that the repair fails too.
    """

    gated = False

    def __init__(
        self,
        *,
        first_token_ms: float = 200.0,
        tokens_per_second: float = 80.0,
        failure_rate: float = 0.0,
        mismatches: int = 0,
    ) -> None:
        self._first_token_s = first_token_ms / 1000
        self._gap_s = 1 / tokens_per_second if tokens_per_second else 0.0
        self._failure_rate = failure_rate
        self._mismatches = mismatches

    def _fails_at(self, request: GenerationRequest, length: int) -> int | None:
        if not self._failure_rate:
            return None
        chance = random.Random(f"{request.job_id} {request.attempt}")  # noqa: S311 - a seeded fault
        return int(chance.random() * length) if chance.random() < self._failure_rate else None

    async def stream(self, request: GenerationRequest) -> AsyncIterator[str | Usage | Completion]:
        """See `Provider`."""
        prompt = last_said(request) if request.turns else request.prompt
        words = compose(request.job_id, prompt, request.parameters)
        if request.response_schema is not None and self._mismatches <= bool(request.mismatch):
            words = compose_json(words, request.response_schema)
        fails_at = self._fails_at(request, len(words))
        finish = "stop"
        if request.max_tokens is not None and request.max_tokens < len(words):
            words, finish = words[: request.max_tokens], "length"
        if self._gap_s == 0 and fails_at is None:
            yield "".join(words)
        else:
            async for word in self._paced(words, fails_at):
                yield word

        yield Completion(
            usage=Usage(input_tokens=max(len(request.prompt.split()), 1), output_tokens=len(words)),
            finish_reason=finish,
            metadata={"demo": True, "note": "demo text, written without a model"},
        )

    def cost(self, model: str, usage: Usage) -> int:  # noqa: ARG002 - the arguments of the protocol
        """Cost of a demo text: 0."""
        return 0

    async def aclose(self) -> None:
        """See `Provider`. There is nothing to close."""

    async def _paced(self, words: list[str], fails_at: int | None) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        due = loop.time() + (self._first_token_s if self._gap_s else 0.0)

        for i, word in enumerate(words):
            if i == fails_at:
                raise ProviderError(
                    JobError(type="ProviderUnavailable", message="the demo failed on purpose", retryable=True),
                    Action.RETRY,
                )
            # Absolute times: a slow loop catches up instead of slowing the stream.
            if (pause := due - loop.time()) > 0:
                await asyncio.sleep(pause)
            due += self._gap_s
            yield word
