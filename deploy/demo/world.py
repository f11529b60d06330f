"""The organisations of the demo: makes their keys, and submits their jobs until the process ends."""

from __future__ import annotations

import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

ALL_SCOPES: Final = (
    "jobs:write", "jobs:read", "jobs:cancel", "events:read", "usage:read", "stats:read", "admin",
)  # fmt: skip
READY_S: Final = 60.0
PAUSE_S: Final = 0.7
"""Mean time between two submits."""

# A proxy of the environment is for other machines.
_open: Final = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class Customer(NamedTuple):
    """An organisation: its models in order of preference, its share of the submits, and what
    it sells. `budget_usd`: its budget a month; None: it has none. `projects_usd`: budgets of single projects."""

    name: str
    models: tuple[str, ...]
    share: int
    product: str
    budget_usd: float | None = None
    projects_usd: Mapping[str, float] = {}

    @property
    def budget(self) -> dict[str, Any]:
        """Its budgets as an operator settles them; empty: it has none."""
        projects = {project: {"monthUsd": usd} for project, usd in self.projects_usd.items()}
        own = {"monthUsd": self.budget_usd} if self.budget_usd is not None else {}
        return own | ({"projects": projects} if projects else {})


CUSTOMERS: Final = (
    Customer(
        "org-1", ("swift:copywriter", "slow:essayist"), 5, "a coffee subscription",
        projects_usd={"newsletter": 0.05, "spring-launch": 5},
    ),
    Customer("org-2", ("slow:essayist",), 2, "a walking tour"),
    Customer("org-3", ("limited:editor",), 3, "an accounting app"),
    Customer("org-4", ("unsteady:writer",), 3, "a bicycle lamp"),
    Customer("org-5", ("strict:house",), 2, "a vitamin water"),
    Customer("org-6", ("swift:copywriter",), 2, "a rain jacket", budget_usd=0.004),
)  # fmt: skip
"""`org-1` has a second model for when its first is overloaded, and budgets of projects, `org-2` is slow, `org-3` waits
for a limited gate, `org-4` has an outage now and then, `org-5` is refused a part, `org-6` waits for a budget that is
spent within a minute."""

PROVIDERS: Final = tuple(dict.fromkeys(model for customer in CUSTOMERS for model in customer.models))
PRICES: Final = {
    "slow:*": {"input": 3, "output": 15}, "limited:*": {"input": 1, "output": 5},
    "unsteady:*": {"input": 0.5, "output": 2}, "strict:*": {"input": 0.2, "output": 0.8},
    "swift:*": {"input": 0.8, "output": 4},
}  # fmt: skip
"""USD per million tokens, invented."""

MAX_TOKENS: Final = 400
"""Of each job. What a job may cost at most is reserved before it runs, so a small budget needs a small bound."""

_PLATFORMS: Final = ("linkedin", "x", "instagram", "email", "blog", "ad")
_PROJECTS: Final = ("spring-launch", "newsletter", "always-on")


class Gateway:
    """Calls with an operator's token."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    def post(self, path: str, content: Any, method: str = "POST") -> Any:
        """The answer of a call."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        body = json.dumps(content).encode()
        request = urllib.request.Request(self._url + path, body, headers, method=method)  # noqa: S310 - http
        with _open(request, timeout=10) as answer:
            return json.load(answer)

    def wait_ready(self) -> bool:
        """Wait until it serves; whether it does."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            try:
                with _open(f"{self._url}/health/ready", timeout=2):
                    return True
            except OSError:
                time.sleep(0.1)
        return False

    def make_key(self, organization: str, label: str) -> str:
        """The text of a new key that may do all."""
        made = self.post("/api/admin/keys", {"organizationId": organization, "scopes": ALL_SCOPES, "label": label})
        return str(made["key"])


def populate(gateway: Gateway, say: Callable[[str], None], console: str) -> None:
    """Make keys and say them, then submit jobs for ever. A gateway that is away is called again."""
    if not gateway.wait_ready():
        return

    try:
        operator, tenant = gateway.make_key("*", "operator of the demo"), gateway.make_key("org-3", "owner of org-3")
        for customer in CUSTOMERS:
            gateway.make_key(customer.name, f"backend of {customer.name}")
            if customer.budget:
                gateway.post(f"/api/admin/organizations/{customer.name}", {"budget": customer.budget}, "PATCH")
        gateway.post("/api/ai/generate-content/batch", {"jobs": [_job(_draw()) for _ in range(120)]})
        gateway.post("/api/ai/generate-content", _job(CUSTOMERS[0]) | {"delaySeconds": 3600})
    except urllib.error.HTTPError:
        return  # another gateway has the port: `make run` says so

    say(
        f"Sign in at {console} with one of these keys:\n"
        f"  operator  {operator}\n"
        f"  org-3     {tenant}\n"
        "They end with the demo's data, at its next start.\n\n"
    )
    _submit_for_ever(gateway)


def _submit_for_ever(gateway: Gateway) -> None:
    while True:
        time.sleep(random.expovariate(1 / PAUSE_S))
        try:
            gateway.post("/api/ai/generate-content", _job(_draw()))
        except urllib.error.HTTPError:
            continue  # refused: a budget, a limit or a pause
        except (urllib.error.URLError, OSError):
            time.sleep(2)


def _draw() -> Customer:
    return random.choices(CUSTOMERS, [customer.share for customer in CUSTOMERS])[0]


def _job(customer: Customer) -> dict[str, Any]:
    claim = " with guaranteed results" if customer.name == "org-5" and random.random() < 0.4 else ""
    parameters = {
        "platform": random.choice(_PLATFORMS), "tone": random.choice(("professional", "playful", "calm")),
        "length": random.choice(("short", "medium", "long")),
    }  # fmt: skip
    return {
        "organizationId": customer.name, "projectId": random.choice(_PROJECTS),
        "userId": f"user-{random.randint(1, 9)}",
        "prompt": f"Write a post about {customer.product}{claim}, for people who have little time.",
        "parameters": parameters, "priority": random.choices(("high", "normal", "low"), (2, 6, 2))[0], "maxAttempts": 2,
        "providers": list(customer.models), "maxTokens": MAX_TOKENS,
    }  # fmt: skip
