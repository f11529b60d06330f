"""Organisations and keys in the console, as an operator changes them."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import ConsoleMaker
from tests.browser.console import Console
from tests.browser.test_console_looks import judge
from tests.support.callers import OPERATOR, bearer, make_key

_OPEN_THE_NEXT = """
    new MutationObserver((_, observer) => {
        observer.disconnect();
        document.querySelector('[aria-label="Change alice"]').click();
        setTimeout(() => { window.later = true; }, 200);
    }).observe(document.querySelector('dialog'), { attributeFilter: ['open'] })
"""


async def test_an_organization_is_paused_and_limited(console: ConsoleMaker) -> None:
    """The dialog sends what was changed and nothing else; a pause says how many jobs wait."""
    async with console(workers=0) as c:
        await make_key(c.client, "alice")
        await c.submit_many(3, organizationId="alice")
        await c.open("#/organizations")
        await c.sign_in()
        await c.press("Pause")
        await c.shows("its 3 waiting jobs wait")
        await c.press("Pause 1 organisation")
        await c.shows("Paused 1 organisation, alice.")
        await c.page.click('[aria-label="Change alice"]')
        await c.type("#of-weight", "3")
        await c.type("#of-runningJobs", "7")
        await c.type("#of-resultSeconds", "3600")
        await c.press("Change 1 organisation")
        await c.shows("Changed 1 organisation, alice.")
        read = (await c.client.get("/api/admin/organizations/alice", headers=bearer(OPERATOR))).json()
        assert (read["weight"], read["limits"]["runningJobs"], read["paused"]) == (3, 7, True)
        assert (read["limits"]["queuedJobs"], read["retention"]["promptSeconds"]) == (None, None)
        assert read["retention"]["resultSeconds"] == 3600


async def test_projects_get_budgets_of_their_own(console: ConsoleMaker) -> None:
    """Added, changed and taken away in the dialog, which sends what was changed; spending is shown beside them. Any
    word may be a project's id."""
    async with console(workers=0) as c:
        await make_key(c.client, "alice")
        await c.open("#/organizations")
        await c.sign_in()
        await _click(c, "Change alice")
        for project, usd in (("search", "20"), ("__proto__", "5")):
            await c.press("Add a project")
            assert await c.page.evaluate("document.activeElement.ariaLabel") == "Project"
            await c.type('[aria-label="Project"]:placeholder-shown', project)
            await c.type(f'[aria-label="Budget of {project}: A month, USD"]', usd)
        await c.type('[aria-label="Budget of search: A day, USD"]', "1.5")
        await c.press("Change 1 organisation")
        await c.shows("Changed 1 organisation, alice.")
        assert await _projects(c) == {
            "search": {"monthUsd": 20, "dayUsd": 1.5}, "__proto__": {"monthUsd": 5, "dayUsd": None}
        }  # fmt: skip
        await c.shows("search $0 of $20.00")

        await _click(c, "Change alice")
        await _click(c, "Take the budget of __proto__ away")
        await c.type('[aria-label="Budget of search: A day, USD"]', "")
        await judge(c, "the dialog of an organisation")
        await c.press("Change 1 organisation")
        await c.page.until("!document.querySelector('dialog[open]')")
        assert await _projects(c) == {"search": {"monthUsd": 20, "dayUsd": None}}


async def _click(c: Console, label: str) -> None:
    """Click on the button of this label, once it is there."""
    found = f"document.querySelector('[aria-label=\"{label}\"]')"
    await c.page.until(f"!!{found}")
    await c.page.evaluate(f"{found}.click()")


async def test_a_wide_dialog_is_there_on_a_phone(console: ConsoleMaker) -> None:
    """With all its fields, not wider than the screen."""
    async with console(workers=0) as c:
        await make_key(c.client, "alice")
        await c.open("#/organizations")
        await c.sign_in()
        await c.page.show_as(390, 844)
        await _click(c, "Change alice")
        await c.press("Add a project")
        await c.page.until("document.querySelector('[aria-label=\"Project\"]')?.getClientRects().length === 1")
        assert await c.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        assert (
            await c.page.evaluate(
                "(({scrollWidth, clientWidth}) => scrollWidth - clientWidth)(document.querySelector('dialog'))"
            )
            <= 0
        )


async def _projects(c: Console) -> Any:
    read = (await c.client.get("/api/admin/organizations/alice", headers=bearer(OPERATOR))).json()
    return read["budget"]["projects"]


async def test_a_dialog_that_opens_while_another_closes_stays(console: ConsoleMaker) -> None:
    """The event of the first one's end comes when the second one is open already."""
    async with console(workers=0) as c:
        await make_key(c.client, "alice")
        await c.submit_many(1, organizationId="alice")
        await c.open("#/organizations")
        await c.sign_in()
        await c.press("Pause")
        await c.shows("Pause 1 organisation, alice?")
        await c.page.evaluate(_OPEN_THE_NEXT)
        await c.press("Keep as it is")
        await c.page.until("!!window.later && !!document.querySelector('dialog[open] #of-weight')")


async def test_a_key_is_made_shown_once_and_revoked(console: ConsoleMaker) -> None:
    """The text of a new key is there until the dialog is closed, and works; a revoked one does not."""
    async with console(workers=0) as c:
        await c.open("#/keys")
        await c.sign_in()
        await c.press("New key")
        await c.type("#key-organization", "alice")
        await c.type("#key-label", "backend")
        await c.press("Make 1 key")
        await c.shows("it is shown here once")
        key = str(await c.page.text(".secret span"))
        jobs = "/api/ai/jobs?organizationId=alice"
        assert (await c.client.get(jobs, headers=bearer(key))).status_code == 200
        await c.press("I have copied it")
        await c.shows("backend")
        assert key not in await c.page.evaluate("document.documentElement.outerHTML")
        await c.page.click('[aria-label="Revoke the key backend"]')
        await c.press("Revoke 1 key")
        await c.shows("Revoked 1 key")
        assert (await c.client.get(jobs, headers=bearer(key))).status_code == 401
        await c.visit("audit")
        await c.shows("Key revoked")
