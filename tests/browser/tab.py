"""Pages with a text that jobs write: their programs bundled for a browser, and a tab that shows one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.clients.test_snippets import code, install
from tests.support.chromium import Page
from tests.support.node import MODULES, PACKAGE, run
from tests.support.stack import Stack

ORGANIZATION: Final = "org-789"
FIELDS: Final = {"projectId": "project-123", "userId": "user-456", "organizationId": ORGANIZATION}
HTML: Final = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><div id="root"></div>
<script src="config.js"></script><script type="module" src="{}.js"></script>"""
BUNDLED: Final = ("--bundle", "--format=esm", "--jsx=automatic", '--define:process.env.NODE_ENV="development"')
MOUNTED: Final = """import {{ StrictMode, useEffect }} from 'react';
import {{ createRoot }} from 'react-dom/client';
import Component from './{}.jsx';
const Mounted = ({{ children }}) => (useEffect(() => void (window.mounted = true)), children);
const page = <StrictMode><Mounted><Component /></Mounted></StrictMode>;
createRoot(document.getElementById('root')).render(page);
"""


async def bundle(folder: Path) -> None:
    """Write the pages of `clients/js/tests/pages`, and those of the components in docs/clients.md. React is the one for
    development: in production StrictMode does nothing."""
    for name in ("chat", "completion"):
        await _page(folder, name, PACKAGE, f"tests/pages/{name}.jsx")
    await _page(folder, "chat-before", PACKAGE, "tests/pages/chat.jsx", "--alias:@ai-sdk/react=ai-react-before")
    install(folder)
    for name, heading in (("docs-react", "React"), ("docs-ai-sdk", "Vercel's AI SDK")):
        (folder / f"{name}.jsx").write_text(
            code(heading, "jsx").replace("'http://127.0.0.1:8000'", "window.PRESSWORK.api")
        )
        (folder / f"{name}-page.jsx").write_text(MOUNTED.format(name))
        await _page(folder, name, folder, f"{name}-page.jsx")


async def _page(folder: Path, name: str, where: Path, entry: str, *more: str) -> None:
    """Bundle the program of a page, and write the page."""
    await run(MODULES / ".bin/esbuild", entry, *BUNDLED, *more, f"--outfile={folder / name}.js", folder=where)
    (folder / f"{name}.html").write_text(HTML.format(name))


@dataclass
class Tab:
    """A page, and the services behind it."""

    page: Page
    stack: Stack

    async def begin(self, letters: int = 30) -> str:
        """Ask for a text, and wait until so much of it is shown; it."""
        await self.page.until("window.mounted")
        await self.page.click("#send")
        return await self.some(letters)

    async def some(self, letters: int) -> str:
        """Wait until so much text is shown; it."""
        await self.page.until(f"document.getElementById('text')?.textContent.length >= {letters}")
        return await self.page.text("#text")

    async def ready(self, seconds: float = 40) -> str:
        """Wait until nothing streams any more; the text."""
        await self.page.until("document.getElementById('status')?.textContent === 'ready'", seconds=seconds)
        return await self.page.text("#text")

    async def texts(self) -> list[str]:
        """Every text that the page showed since it was loaded."""
        return list(await self.page.evaluate("window.texts"))

    async def messages(self) -> list[str]:
        """Roles of the messages."""
        return list(await self.page.evaluate("[...document.querySelectorAll('li')].map((each) => each.className)"))

    async def job(self) -> dict[str, Any]:
        """The one job that there is."""
        answer = await self.stack.client.get(
            f"{self.stack.gateway.url}/api/ai/jobs", params={"organizationId": ORGANIZATION}
        )
        (job,) = answer.json()["jobs"]
        return await self.stack.end(job["jobId"])
