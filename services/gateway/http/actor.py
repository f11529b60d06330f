"""The maker of a change, as the audit trail remembers it."""

from __future__ import annotations

import re
import secrets
from typing import Any, Final

from litestar import Request

from shared.http.auth import Identity
from shared.identity.client_address import ClientAddresses
from shared.store.audit_trail import Actor

AnyRequest = Request[Any, Any, Any]
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z")


def actor_alone(identity: Identity) -> Actor:
    """The caller, where its request is not at hand."""
    return Actor(key_id=identity.name, organization_id=identity.organization_id)


def actor_of(identity: Identity, request: AnyRequest, addresses: ClientAddresses) -> Actor:
    """The caller, and its address. A request without a sound `X-Request-Id` gets an id of ours."""
    given = request.headers.get("x-request-id", "")
    return Actor(
        key_id=identity.name,
        organization_id=identity.organization_id,
        address=addresses.of(request.scope),
        request_id=given if _REQUEST_ID.match(given) else secrets.token_hex(8),
    )
