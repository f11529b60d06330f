"""A job's text as it grows, and the exit status that says how the job ended."""

from __future__ import annotations

from presswork_client.cli.exits import FAILED, OF_STATUS
from presswork_client.cli.output import Output, note
from presswork_client.client import Job
from presswork_client.events import End, Event, Processing, Retrying


def follow(job: Job, output: Output, *, growing: bool) -> int:
    """Show a job's events to its end. `growing`: its text piece by piece, else when it is whole."""
    text, status = GrowingText(output), FAILED
    for event in job.events():
        if output.as_json:
            output.line({"event": event.kind, "id": event.id, **event.raw})
        else:
            _comment(event)
            if growing or isinstance(event, End):
                text.show(event.so_far)
        if isinstance(event, End):
            status = OF_STATUS[event.kind]

    if not output.as_json:
        text.finish()
    return status


class GrowingText:
    """A text on standard output. One that begins again, after a lost attempt or a gap, begins on a line of its own."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._shown = ""

    def show(self, text: str) -> None:
        """Bring the output to this text. An empty one changes nothing: the next one says whether it begins again."""
        if not text:
            return
        if not text.startswith(self._shown):
            note("\n[the text begins again]")
            self._output.text("\n")
            self._shown = ""
        self._output.text(text[len(self._shown) :])
        self._shown = text

    def finish(self) -> None:
        """End the last line."""
        if self._shown and not self._shown.endswith("\n"):
            self._output.text("\n")


def _comment(event: Event) -> None:
    if isinstance(event, Retrying):
        note(f"[{event.reason}: it will be tried again]")
    elif isinstance(event, Processing) and event.attempt > 1:
        note(f"[attempt {event.attempt}]")
    elif isinstance(event, End) and event.view.error is not None:
        note(f"{event.kind}: {event.view.error.type}: {event.view.error.message}")
    elif isinstance(event, End) and event.kind != "completed":
        note(event.kind)
