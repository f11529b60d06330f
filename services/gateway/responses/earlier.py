"""Earlier responses that a request goes on from: a whole conversation, or single messages by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.gateway.jobs.finder import JobFinder
from services.gateway.responses.errors import PREVIOUS_NOT_FOUND
from services.gateway.responses.inputs import InputItem
from services.gateway.responses.views import job_of_item
from services.gateway.submit.schemas import MAX_CONVERSATION
from shared.conversation import Message, Role, cut
from shared.errors import JobNotFound
from shared.http.auth import Identity, Scope
from shared.http.problems import FieldError, Problem, invalid
from shared.job import JobSnapshot, JobStatus
from shared.job_ids import JOB_ID

_PREVIOUS: Final = "previous_response_id"


class EarlierResponses:
    """Reads them, of one organisation. Every method raises a `Problem` that names the field when a response is not kept
    there, or has no end to go on from."""

    def __init__(self, finder: JobFinder) -> None:
        self._finder = finder

    async def conversation(self, response_id: str | None, organization: str, identity: Identity) -> list[Message]:
        """The conversation that a response ended, with its answer."""
        if response_id is None:
            return []
        job = await self._find(response_id, response_id, _PREVIOUS, organization, identity)
        if not job.spec.stored or not job.spec.prompt:
            raise _not_kept(response_id, _PREVIOUS)

        said = _answer(job, _PREVIOUS)
        messages = cut(job.spec.prompt, job.spec.turns or ())
        return [*messages, Message(Role.ASSISTANT, said)] if said else messages

    async def resolved(self, items: Sequence[InputItem], organization: str, identity: Identity) -> list[Message]:
        """The items as messages: a reference becomes the message of the earlier response."""
        messages: list[Message] = []
        known: dict[str, str] = {}
        size = 0
        for i, item in enumerate(items):
            if item.role is not None:
                messages.append(Message(item.role, item.text))
                continue

            reference, field = item.id or "", f"input[{i}].id"
            if reference not in known:
                job = await self._find(job_of_item(reference), reference, field, organization, identity)
                known[reference] = _answer(job, field)
            size += len(known[reference].encode())
            if size > MAX_CONVERSATION:  # before any more is read
                raise invalid("input", f"longer than {MAX_CONVERSATION} bytes together")
            if known[reference]:
                messages.append(Message(Role.ASSISTANT, known[reference]))
        return messages

    async def _find(
        self, job_id: str | None, named: str, field: str, organization: str, identity: Identity
    ) -> JobSnapshot:
        """The job; `named`: the id in the request's field."""
        if job_id is None or JOB_ID.match(job_id) is None:
            raise _not_kept(named, field)
        identity.require_scope(Scope.JOBS_READ)
        try:
            job = await self._finder.find(identity, job_id)
        except JobNotFound:
            raise _not_kept(named, field) from None
        if job.organization_id != organization:
            raise _not_kept(named, field)
        return job


def _answer(job: JobSnapshot, field: str) -> str:
    """The text of a completed job."""
    if job.status is not JobStatus.COMPLETED or job.outcome is None:
        raise invalid(field, f"it is {job.status}: only a completed response can be continued")
    return job.outcome.result or ""


def _not_kept(named: str, field: str) -> Problem:
    return Problem(PREVIOUS_NOT_FOUND, errors=[FieldError(field, f"{named[:100]} is not kept here")])
