"""`GET /v1/models`: the models that a response may name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from services.gateway.responses.errors import MODEL_NOT_FOUND
from shared.chain import split
from shared.http.auth import Identity
from shared.http.problems import FieldError, Problem


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model. `created` is 0: it is not known."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str


class ModelList(msgspec.Struct, frozen=True):
    """Models in the order of PROVIDERS."""

    data: list[Model]
    object: Literal["list"] = "list"


def list_models(chain: Sequence[str], identity: Identity) -> ModelList:
    """Those that this caller may use."""
    names = [name for name in chain if not identity.models or name in identity.models]
    return ModelList([Model(id=name, owned_by=split(name)[0]) for name in names])


def find_model(chain: Sequence[str], name: str, identity: Identity) -> Model:
    """One of them; a 404 `Problem` for another name."""
    found = next((model for model in list_models(chain, identity).data if model.id == name), None)
    if found is None:
        raise Problem(MODEL_NOT_FOUND, errors=[FieldError("model", f"{name[:100]} is not a model of this key")])
    return found
