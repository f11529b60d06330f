"""The table of docs/provider-failures.md: `python -m tests.support.failures_page` prints the page."""

from __future__ import annotations

import sys
from typing import Final

from services.worker.execution.retry_policy import BACKOFF_CAP_S
from services.worker.providers import Action
from services.worker.providers.failures.classification import RETRY_AFTER_CAP_S, CallFailure, Fault, Hint, classify
from services.worker.providers.http.bounds import ERROR_BYTES, ERROR_SECONDS
from services.worker.providers.http.connection import MAX_HEAD_BYTES
from services.worker.providers.replies.finish_reasons import SHOWN_CHARACTERS, SOURCES, STEMS, UNSAID, Finish
from services.worker.providers.replies.stream_reader import ANSWER_MAX_BYTES, MAX_EVENT_BYTES, TEXT_MAX, WHOLE_MAX_BYTES
from services.worker.providers.requests.adjustments import REPAIRS_MAX

_DATE: Final = "Wed, 25 Nov 2026 12:00:00 GMT"
_LATER: Final = "Wed, 25 Nov 2026 12:00:30 GMT"

SHAPES: Final = (
    ("429", CallFailure(status=429, kind="rate_limit_error")),
    ("429, `Retry-After: 2`", CallFailure(status=429, kind="rate_limit_error", retry_after="2")),
    ("429, `Retry-After` is a date", CallFailure(status=429, retry_after=_LATER, date=_DATE)),
    ("429, `Retry-After-Ms: 1500`", CallFailure(status=429, retry_after_ms="1500", retry_after="2")),
    ('429, `retryDelay` "34.07s" in its details (Google)', CallFailure(status=429, body_wait="34.07s")),
    ('429 or 503 whose message says "try again in 20s"', CallFailure(status=429, body_wait="20s")),
    ("429, `x-ratelimit-reset-requests: 6m0s` and nothing else", CallFailure(status=429, reset="360")),
    ("429, `Retry-After: 86400`", CallFailure(status=429, retry_after="86400")),
    ("529, or an error of type `overloaded_error`", CallFailure(status=529, kind="overloaded_error")),
    ("503, code `slow_down`", CallFailure(status=503, code="slow_down")),
    ("`overloaded_error` inside a 200 stream", CallFailure(fault=Fault.REPORTED, kind="overloaded_error")),
    ("`rate_limit_error` inside a 200 stream", CallFailure(fault=Fault.REPORTED, kind="rate_limit_error")),
    ("500, 502, other 5xx; 424, 425, 498, 499, other 4xx", CallFailure(status=500, kind="server_error")),
    ("503, `Retry-After: 5`", CallFailure(status=503, retry_after="5")),
    ("408, 504", CallFailure(status=504, kind="timeout_error")),
    ("409", CallFailure(status=409, kind="conflict_error")),
    ("connection refused, unknown host, failed TLS handshake", CallFailure(fault=Fault.UNREACHABLE)),
    ("connection dropped, before or inside the answer", CallFailure(fault=Fault.DROPPED)),
    ("nothing to read for too long", CallFailure(fault=Fault.TIMEOUT)),
    ("stream ended without a finish reason", CallFailure(fault=Fault.TRUNCATED)),
    (
        "piece of the stream that is not JSON, an answer that is not a stream, or one beyond the bounds below",
        CallFailure(fault=Fault.MALFORMED),
    ),
    ("`api_error`, `server_error` inside a 200 stream", CallFailure(fault=Fault.REPORTED, kind="api_error")),
    ("other error inside a 200 stream (also without a type)", CallFailure(fault=Fault.REPORTED)),
    ("complete answer without a text", CallFailure(fault=Fault.EMPTY)),
    ("402, or an error of type `billing_error`", CallFailure(status=402, kind="billing_error")),
    ("429, type `insufficient_quota`", CallFailure(status=429, kind="insufficient_quota", retry_after="1")),
    ("400, code `enforced_spend_limit_reached`", CallFailure(status=400, code="enforced_spend_limit_reached")),
    (
        "400 or 429 whose message speaks of a credit balance too low, a spend limit or API usage limits",
        CallFailure(status=400, hint=Hint.CREDIT),
    ),
    (
        "400, 403, 404 or 422 with a code like `API_KEY_INVALID`, or whose message speaks of a key",
        CallFailure(status=400, code="API_KEY_INVALID", hint=Hint.KEY),
    ),
    ("401", CallFailure(status=401, kind="authentication_error")),
    ("403", CallFailure(status=403, kind="permission_error")),
    ("400 or 403 whose message speaks of a country", CallFailure(status=400, hint=Hint.REGION)),
    ("400 or 403 whose message speaks of an account that is disabled", CallFailure(status=400, hint=Hint.ACCOUNT)),
    ("400 whose message speaks of an unknown model", CallFailure(status=400, hint=Hint.MODEL)),
    ("406, 407, 411, 414, 415, 417, 421, 426, 428, 431, 451", CallFailure(status=451)),
    ("404, or code `model_not_found`; 405, 410, 3xx", CallFailure(status=404, kind="not_found_error")),
    (
        "429, larger than the limit per minute",
        CallFailure(status=429, code="rate_limit_exceeded", hint=Hint.OVER_LIMIT, retry_after="1"),
    ),
    ("token limit used up before any text (a model that thinks)", CallFailure(fault=Fault.LIMITED)),
    ("400, 422, when nothing of it can be left out", CallFailure(status=400, kind="invalid_request_error")),
    (
        "413, code `context_length_exceeded`, or a message that says so",
        CallFailure(status=400, code="context_length_exceeded"),
    ),
    ("`invalid_request_error` inside a 200 stream", CallFailure(fault=Fault.REPORTED, kind="invalid_request_error")),
    ("finish reason of a server that could not go on (table below)", CallFailure(fault=Fault.BROKEN_OFF)),
    ("finish reason of a model that waits for a tool, with a text before it", CallFailure(fault=Fault.TOOL)),
    (
        "finish reason of a filter or a refusal (table below); code `content_policy_violation`",
        CallFailure(fault=Fault.REFUSED),
    ),
    ("400 or 403 whose message speaks of a filter or of moderation", CallFailure(status=403, hint=Hint.FILTERED)),
)
"""Every shape of failure that is known, in the order of the page."""

ATTEMPTS: Final = {Action.WAIT: 0, Action.RETRY: 3, Action.FALLBACK: 1, Action.FAIL: 1}
"""Attempts used up by a job with `maxAttempts` 3 whose calls all fail this way and whose chain has one provider."""

_INTRODUCTION: Final = f"""\
# Failed provider calls

Generated by `make docs` from `services/worker/providers/failures/classification.py`; do not edit.

Every failure of a call to OpenAI, Anthropic or a compatible server is classified in one pure function. The job's fate
is one of four actions:

| action | meaning | attempts used, of 3 |
|---|---|---|
| `wait` | the gate of this provider and model is blocked for every worker, for the time the provider asks for; the \
job is throttled and keeps its attempts | 0 |
| `retry` | again after a back-off; before the first token the fallback, the next provider of the chain, may take over \
at once | 3 |
| `fallback` | this provider will not answer us: the next of the chain may, else the job fails | 1 |
| `fail` | no provider would answer this request | 1 |

A retry comes after a time drawn evenly from 0 to 1 s, then 2 s, 4 s and so on, at most {BACKOFF_CAP_S:.0f} s. A \
provider's retry-after is honoured up to {RETRY_AFTER_CAP_S:.0f} s (0 s is ignored): the draw begins when it is \
over, and is from at least as long again, up to the same {BACKOFF_CAP_S:.0f} s, so that jobs that failed together do \
not return together. After a `wait` the gate lets them go, at first in its slow start. Failures in a row block a \
gate too, but `EmptyAnswer`, `ToolRequested`, `TokenLimitTooSmall` and `RequestOverLimit` do not count: the provider \
did its part, and one customer's requests must not block it for the others.

A front end reads `type` and `message` in `error`; a provider's own words are never shown, because they may quote \
the prompt. Two cases are not repaired here: the time-outs of the first token, between tokens and of thinking are \
the worker's own, and a stream that broke after its first token is started again, never spliced.

| failure | `type` | action | retry-after | attempts used, of 3 | `message` |
|---|---|---|---|---|---|
"""


_REPAIRS: Final = f"""\

## Refused parameters

A 400 or 422 that names a parameter (`temperature`, `top_p`, `max_tokens`, `stream_options`, the effort or type of
thinking, the role of the instructions) is answered with a second call at once, without it or in the form that the
server asks for: within the attempt, behind the same gate. At most {REPAIRS_MAX} in an attempt, each of another
parameter. A successful repair is remembered for that provider and model until the process ends or gets a SIGHUP, and
written to the log as `request_adjusted`. In the result `metadata.ignored` names the parameters that were left out,
`metadata.adjusted` those that were sent in another form (a limit under its other name or cut to the model's own,
instructions as part of the prompt).
"""

_BOUNDS: Final = f"""\

## Bounds

The answer of a broken or hostile server is bounded in size as well as in time:

| part | at most | beyond it |
|---|---|---|
| the head of an answer, and the trailers after it | {MAX_HEAD_BYTES >> 10} KiB each | `StreamBroken` |
| the body of an error | {ERROR_BYTES >> 10} KiB, {ERROR_SECONDS:.0f} s | classified by its status and headers |
| one event of a stream | {MAX_EVENT_BYTES >> 20} MiB | `StreamMalformed` |
| an answer that is one piece of JSON instead of a stream | {WHOLE_MAX_BYTES >> 20} MiB | `StreamMalformed` |
| a stream, unpacked | {ANSWER_MAX_BYTES >> 20} MiB | `StreamMalformed` |
| the text of an answer, thoughts included | {TEXT_MAX >> 20} Mi characters, as much of JSON | `StreamMalformed` |

Only the text of a body is kept: beside it a call needs a few MiB, whatever the server sends. A compressed answer is
unpacked piece by piece, so that the worker's other jobs run in between; one that is compressed twice is not read.
"""


_MEANINGS: Final = {
    Finish.STOP: "the text is whole: `stop`",
    Finish.LENGTH: "it was cut at a limit: `length`",
    Finish.REFUSED: "`ContentFiltered`",
    Finish.BROKEN: "`StreamFailed`",
    Finish.TOOL: "`ToolRequested`, without a text `EmptyAnswer`",
}

_FINISHES: Final = f"""\

## Finish reasons

Only a reason that means "whole", or that a token limit was reached, completes a job. The reasons of all servers are
one table, without regard to case and separators; of two words together (`content_filter: SPII`) the first that is
known counts, of two fields (`native_finish_reason`) the one that reports a failure. A reason that is in no table
completes the job too, is passed on in `finishReason` (at most {SHOWN_CHARACTERS} characters), counts in
`presswork_unknown_finish_reasons_total` and is logged once as `finish_reason_unknown`. No reason at all, a value that
is not a word, or one of {", ".join(f"`{word}`" for word in UNSAID if word)} is an answer that was cut off:
`StreamTruncated`.

| server | reasons | meaning | source |
|---|---|---|---|
"""


def _finishes() -> str:
    rows = [
        f"| {source.server} | {' '.join(f'`{reason}`' for reason in source.reasons)} | {_MEANINGS[source.finish]} "
        f"| {source.where} |\n"
        for source in SOURCES
    ]
    stems = [
        f"| every server | {where} with {' '.join(f'`{stem}`' for stem in stems.split())} | {_MEANINGS[finish]} "
        f"| beside the names above |\n"
        for finish, where, stems in STEMS
    ]
    return _FINISHES + "".join(rows + stems)


def page() -> str:
    """The whole page."""
    rows = []
    for shape, failure in SHAPES:
        verdict = classify(failure)
        retry_after = "" if verdict.retry_after_s is None else f"{verdict.retry_after_s:g} s"
        rows.append(
            f"| {shape} | `{verdict.error.type}` | `{verdict.action}` | {retry_after} | {ATTEMPTS[verdict.action]} "
            f"| {verdict.error.message} |\n"
        )
    return _INTRODUCTION + "".join(rows) + _finishes() + _REPAIRS + _BOUNDS


if __name__ == "__main__":
    sys.stdout.write(page())
