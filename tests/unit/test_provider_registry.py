"""Providers are built from settings: those that cannot work end a worker at its start, with one line."""

from __future__ import annotations

from typing import Any

import pytest

from services.worker.providers.registry import build_providers
from services.worker.settings import read_worker
from shared.chain import permitted
from shared.errors import SettingsInvalid
from shared.job import JobSpec, Usage

GROQ = {"PROVIDERS": "groq:m", "PROVIDER_GROQ_BASE_URL": "https://api.groq.com/openai/v1"}


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"PROVIDERS": "openai:m"}, "OPENAI_API_KEY is not set"),
        ({"PROVIDERS": "nobody:m"}, "PROVIDERS names nobody.*PROVIDER_NOBODY_BASE_URL"),
        ({"OPENAI_API_KEY": "planted\nkey"}, "OPENAI_API_KEY is not a key"),
        ({"OPENAI_API_KEY": "planted key"}, "OPENAI_API_KEY is not a key"),
        ({"ANTHROPIC_API_KEY": "plant\u00e9d"}, "ANTHROPIC_API_KEY is not a key"),
        ({"PROVIDERS": "openai:m", "OPENAI_BASE_URL": "localhost:11434/v1"}, "OPENAI_BASE_URL is not"),
        ({"PROVIDERS": "openai:m", "OPENAI_BASE_URL": "planted.test/v1"}, "OPENAI_BASE_URL is not"),
        ({"PROVIDERS": "openai:m", "OPENAI_BASE_URL": "http://planted.test:x/v1"}, "OPENAI_BASE_URL is not"),
        ({"PROVIDERS": "openai:m", "OPENAI_BASE_URL": "http:///planted"}, "OPENAI_BASE_URL is not"),
        ({"PROVIDERS": "openai:m", "OPENAI_BASE_URL": "http://planted.test/v1 x"}, "OPENAI_BASE_URL is not"),
        ({"PROVIDERS": "openai:m", "OPENAI_BASE_URL": "http://u:planted@test/v1"}, "OPENAI_BASE_URL holds a user or"),
        ({"PROVIDERS": "openai:m", "OPENAI_BASE_URL": "http://planted.test/v1#x"}, "OPENAI_BASE_URL has a fragment"),
        ({"PROVIDERS": "openai:m", "OPENAI_BASE_URL": "http://planted.test/v1/responses"}, "URL ends in /responses"),
        ({"PROVIDERS": "anthropic:m", "ANTHROPIC_BASE_URL": "http://planted.test/messages"}, "URL ends in /messages"),
        ({"PROVIDERS": "openai:m", "OPENAI_API_KEY": "k", "OPENAI_PRICED": "planted"}, "OPENAI_PRICED: expected 1, 0"),
        ({"PROVIDERS": "Groq:m"}, "lower case: groq"),
        ({"PROVIDERS": "groq"}, "groq has no model"),
        ({"PROVIDERS": "a-b:m,a_b:m"}, "a-b and a_b"),
        ({"PROVIDERS": "groq:m", "PROVIDER_GROQ_KEY": "k"}, "PROVIDER_GROQ_BASE_URL is not set"),
        ({"PROVIDERS": "groq:m", "PROVIDER_GROQ_BASE_URL": "planted"}, "PROVIDER_GROQ_BASE_URL is not an"),
        (GROQ | {"PROVIDER_GROQ_KEY": "planted key"}, "PROVIDER_GROQ_KEY is not a key"),
        (GROQ | {"PROVIDER_GROQ_KEY_FILE": "/planted"}, "PROVIDER_GROQ_KEY_FILE cannot be read"),
        (GROQ | {"PROVIDER_GROQ_KEY": "'planted'"}, "remove the quotes around PROVIDER_GROQ_KEY"),
        (GROQ | {"PROVIDER_GROQ_DIALECT": "planted"}, "PROVIDER_GROQ_DIALECT: expected one of openai, anthropic"),
        (GROQ | {"PROVIDER_GROQ_PRICED": "planted"}, "PROVIDER_GROQ_PRICED: expected 1, 0"),
        (GROQ | {"PROVIDER_GROQ_API_KEY": "planted"}, "PROVIDER_GROQ_API_KEY is no setting"),
        (GROQ | {"PROVIDER_OPENAI_KEY": "planted"}, "PROVIDER_OPENAI_KEY: openai has settings of its own"),
        (GROQ | {"PROVIDER_DEMO_BASE_URL": "planted"}, "PROVIDER_DEMO_BASE_URL: demo calls no server"),
        ({"PROVIDER_GROQ_KEY": "planted"}, "PROVIDERS names no model of groq"),
        ({"OPENAI_API_KEY": "k", "PROVIDER_PROXY": "planted.test:3128"}, "PROVIDER_PROXY is not"),
        ({"THINK_TAGS": "think,<planted>"}, "THINK_TAGS: at most"),
        ({"THINK_TAGS": ",".join(f"plant{i}" for i in range(9))}, "THINK_TAGS: at most"),
    ],
)
def test_faulty_settings_are_refused_at_the_start(environment: dict[str, str], complaint: str) -> None:
    """The line names the setting and its fault, and never shows a value: it may be half a key."""
    with pytest.raises(SettingsInvalid, match=complaint) as raised:
        build_providers(read_worker(environment), {})
    assert "plant" not in str(raised.value)


async def test_good_settings_build_providers() -> None:
    """A path or a slash at the end of the address, an address without a key, any number of servers, and a proxy are all
    fine; a server at a vendor's own address has that vendor's prices."""
    environment = {
        "PROVIDERS": "openai:org/model:free,anthropic:m,demo,4-all:m,gemini:gemini-2.5-flash",
        "OPENAI_BASE_URL": "http://127.0.0.1:11434/some/path/v1/",
        "ANTHROPIC_BASE_URL": "https://gateway.test/anthropic/v1/",
        "PROVIDER_PROXY": "http://127.0.0.1:3128",
        "THINK_TAGS": "",
        "PROVIDER_4_ALL_BASE_URL": "http://127.0.0.1:8000",
        "PROVIDER_GEMINI_BASE_URL": "https://generativelanguage.googleapis.com",
        "PROVIDER_GEMINI_KEY": "k",
        "PROVIDER_UNUSED_KEY": "k",
        "PROVIDER_LIMITS": "gemini:gemini-2.5-flash=60",
    }
    made = build_providers(read_worker(environment), {})
    assert {"openai", "anthropic", "demo", "4-all", "gemini"} <= set(made)
    assert made["gemini"].cost("gemini-2.5-flash", Usage(input_tokens=1000, output_tokens=0))
    assert made["4-all"].cost("gpt-4o", Usage(input_tokens=1000, output_tokens=0)) is None
    for provider in made.values():
        await provider.aclose()


def test_no_key_in_what_settings_show() -> None:
    """A settings object that ends up in a traceback or a log shows no key."""
    environment = GROQ | {"PROVIDER_GROQ_KEY": "planted", "OPENAI_API_KEY": "planted", "ANTHROPIC_API_KEY": "planted"}
    settings = read_worker(environment)
    shown = [repr(settings), repr(settings.servers), repr(settings.known_servers), str(settings)]
    assert not [text for text in shown if "planted" in text]
    assert settings.known_servers["groq"].key == "planted"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["b:1", "c:1"]),
        ({"provider": "b"}, ["b:1"]),
        ({"providers": ["c:1", "b:1"]}, ["c:1", "b:1"]),
        ({"providers": ["b:1", "a:1"]}, None),
        ({"provider": "a"}, None),
    ],
)
def test_a_job_is_held_to_the_models_of_its_caller(asked: dict[str, Any], found: list[str] | None) -> None:
    """One that names none, or a provider, runs on those among them; one that names another is not run at all."""
    spec = JobSpec(project_id="p", user_id="u", organization_id="o", prompt="x", **asked)
    held = permitted(spec, ["a:1", "b:1", "c:1"], {"b:1", "c:1"})
    assert (None if held is None else held.providers) == found
