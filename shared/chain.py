"""Chains of providers that may answer: `provider:model` names in order of preference. Pure.

A name is also the name of a gate: one per provider and model.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from shared.errors import SettingsInvalid
from shared.job import JobSpec

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}:[^\s,=]{1,128}\Z")
"""A provider's name appears in upper case in the names of its settings (`groq`: PROVIDER_GROQ_KEY). A model's name may
hold nearly anything (`llama3.1:8b`, `vendor/model:free`), but nothing that separates names."""

DEFAULT_MODELS: Final[Mapping[str, str]] = {"openai": "gpt-6-luna", "anthropic": "claude-haiku-5-5"}
"""The model of a vendor when the operator names none: current, streaming, the cheapest for plain text (USD 0.10 and
0.50 per million tokens in and out at both), no shutdown announced (November 2026)."""


def parse_chain(text: str) -> tuple[str, ...]:
    """Parse entries `provider:model` separated by commas; openai, anthropic and demo alone mean their default model.

    SettingsInvalid for an entry that is no name, and for one that comes twice.
    """
    names = []
    for entry in (part.strip() for part in text.split(",")):
        provider, colon, _ = entry.partition(":")
        default = "demo" if provider == "demo" else DEFAULT_MODELS.get(provider)
        name = f"{provider}:{default}" if default is not None and not colon else entry
        if not _NAME.match(name):
            raise SettingsInvalid(_complaint(name))
        names.append(name)
    if len(set(names)) < len(names):
        raise SettingsInvalid("PROVIDERS: an entry comes twice")
    return tuple(names)


def _complaint(name: str) -> str:
    """The complaint about an entry, which is itself shown where it cannot hold a key."""
    provider, _, model = name.partition(":")
    if model and _NAME.match(name.lower()):
        return f"PROVIDERS: a provider's name is written in lower case: {provider.lower()}"
    if _NAME.match(f"{name}:m") and len(name) <= 20:
        return f"PROVIDERS: every entry is `provider:model`, and {name} has no model"
    return "PROVIDERS: every entry is `provider:model`"


def fleet_chain(providers: str, keys: Mapping[str, str]) -> tuple[str, ...]:
    """The chain of jobs that name none: PROVIDERS, else the providers whose keys are set, else the demo.

    `keys`: API key by provider, empty when there is none.
    """
    if providers.strip():
        return parse_chain(providers)
    named = tuple(f"{provider}:{model}" for provider, model in DEFAULT_MODELS.items() if keys.get(provider))
    return named or ("demo:demo",)


@lru_cache(maxsize=256)
def split(name: str) -> tuple[str, str]:
    """Provider and model."""
    provider, _, model = name.partition(":")
    return provider, model


def _fits(name: str, spec: JobSpec) -> bool:
    provider, model = split(name)
    return spec.provider in (None, provider) and spec.model in (None, model)


def route_of(spec: JobSpec, chain: Sequence[str]) -> tuple[str, ...]:
    """The chain that a job asked for: its own, or the entries of `chain` that fit its provider and model; () when it
    asked for nothing special. A model that `chain` does not have is kept: another release may have it."""
    if spec.providers:
        return tuple(spec.providers)
    if spec.provider is None and spec.model is None:
        return ()
    fitting = tuple(name for name in chain if _fits(name, spec))
    return fitting or (f"{spec.provider or 'any'}:{spec.model or 'any'}",)


def permitted(spec: JobSpec, chain: Sequence[str], models: Collection[str]) -> JobSpec | None:
    """The job with those of its models alone that a caller may use (`models` empty: all); None when there is none, or
    when it names one that the caller may not use."""
    if not models:
        return spec
    if any(name not in models for name in spec.providers or ()):
        return None
    allowed = [name for name in route_of(spec, chain) or chain if name in models]
    return msgspec.structs.replace(spec, provider=None, model=None, providers=allowed) if allowed else None
