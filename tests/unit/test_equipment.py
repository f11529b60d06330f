"""What a worker is built from: settings that cannot work end it at the start, with one line."""

from __future__ import annotations

import pytest

from services.worker.equipment import equip
from services.worker.settings import WorkerSettings
from shared.errors import SettingsInvalid
from shared.settings import read


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"PROVIDERS": "openai:m"}, "OPENAI_API_KEY is not set"),
        ({"PROVIDERS": "nobody:m"}, "PROVIDERS names nobody"),
        ({"OPENAI_API_KEY": "planted\nkey"}, "OPENAI_API_KEY is not a key"),
        ({"OPENAI_API_KEY": "planted key"}, "OPENAI_API_KEY is not a key"),
        ({"ANTHROPIC_API_KEY": "plant\u00e9d"}, "ANTHROPIC_API_KEY is not a key"),
        ({"PROVIDERS": "openai:m", "OPENAI_BASE_URL": "localhost:11434/v1"}, "OPENAI_BASE_URL is not"),
        ({"PROVIDERS": "openai:m", "OPENAI_BASE_URL": "planted.test/v1"}, "OPENAI_BASE_URL is not"),
        ({"PROVIDERS": "openai:m", "OPENAI_BASE_URL": "http://planted.test:x/v1"}, "OPENAI_BASE_URL is not"),
        ({"PROVIDERS": "openai:m", "OPENAI_BASE_URL": "http:///planted"}, "OPENAI_BASE_URL is not"),
        ({"PROVIDERS": "openai:m", "OPENAI_BASE_URL": "http://planted.test/v1 x"}, "OPENAI_BASE_URL is not"),
        ({"PROVIDERS": "anthropic:m", "ANTHROPIC_BASE_URL": "http://planted.test/v1/"}, "must end before /v1"),
        ({"OPENAI_API_KEY": "k", "PROVIDER_PROXY": "planted.test:3128"}, "PROVIDER_PROXY is not"),
        ({"THINK_TAGS": "think,<planted>"}, "THINK_TAGS: at most"),
        ({"THINK_TAGS": ",".join(f"plant{i}" for i in range(9))}, "THINK_TAGS: at most"),
    ],
)
def test_what_cannot_work_is_refused_at_the_start(environment: dict[str, str], complaint: str) -> None:
    """The line names the setting and what is wrong with it, and never shows a value: it may be half a key."""
    with pytest.raises(SettingsInvalid, match=complaint) as raised:
        equip(read(environment, WorkerSettings), {})
    assert "plant" not in str(raised.value)


async def test_what_can_work_is_built() -> None:
    """A path or a slash at the end of the address, an address without a key, and a proxy are all fine."""
    environment = {
        "PROVIDERS": "openai:org/model:free,anthropic:m,demo",
        "OPENAI_BASE_URL": "http://127.0.0.1:11434/some/path/v1/",
        "ANTHROPIC_BASE_URL": "https://gateway.test/anthropic/",
        "PROVIDER_PROXY": "http://127.0.0.1:3128",
        "THINK_TAGS": "",
    }
    made = equip(read(environment, WorkerSettings), {})
    assert {"openai", "anthropic", "demo"} <= set(made)
    for provider in made.values():
        await provider.aclose()
