"""Bodies with which servers refuse a parameter of a request."""

from __future__ import annotations

from typing import Any

OPENAI_PARAM = {
    "error": {
        "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
        "Use 'max_completion_tokens' instead.",
        "type": "invalid_request_error", "param": "max_tokens", "code": "unsupported_parameter",
    }
}  # fmt: skip

NO_DISABLED = (
    '"thinking.type.disabled" is not supported for this model. Use "thinking.type.adaptive" and '
    '"output_config.effort" to control thinking behavior.'
)


def said(message: str, **more: Any) -> dict[str, Any]:
    """A refusal in OpenAI's shape, of which the message says all."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None} | more}


def violations(*names: str) -> list[Any]:
    """A refusal as Gemini writes it: a list, with a sentence for each field."""
    told = [f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.' for name in names]
    details = [
        {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"description": t} for t in told]}
    ]
    return [{"error": {"code": 400, "message": "\n".join(told), "status": "INVALID_ARGUMENT", "details": details}}]


def forbidden(name: str) -> dict[str, Any]:
    """One item of pydantic's list of faults."""
    return {
        "type": "extra_forbidden",
        "loc": ["body", name],
        "msg": "Extra inputs are not permitted",
        "input": {"a": 1},
    }
