"""How the story is told: one line a phase with its time, details below it, a spinner while it lasts.

On a terminal with colours and the running time; otherwise plain lines that read well in a log. Everything goes to
stdout; a JSON result, when asked for, is the very last line.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

PLAIN_COLUMNS = 100


class Show:
    """Owned by the one story that runs."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = Console(highlight=False, soft_wrap=True) if console is None else console
        self._began = time.monotonic()
        self.phases: dict[str, float] = {}

    @property
    def columns(self) -> int:
        return min(self._console.width, 120) if self._console.is_terminal else PLAIN_COLUMNS

    def title(self, text: str) -> None:
        self._console.print(f"[bold]{escape(text)}[/bold]")

    def say(self, text: str = "") -> None:
        self._console.print(f"       {escape(text)}".rstrip())

    def warn(self, text: str) -> None:
        self._console.print(f"       [yellow]{escape(text)}[/yellow]")

    def fail(self, text: str) -> None:
        self._console.print(f"[bold red]FAILED[/bold red] {escape(text)}")

    def line(self, text: str) -> None:
        """As it is: pictures and commands to copy."""
        self._console.print(escape(text))

    @contextmanager
    def phase(self, key: str, letter: str, text: str) -> Iterator[None]:
        """Prints its line when it begins; its duration goes into the result also when it fails."""
        began = time.monotonic()
        at_s = f"{began - self._began:5.1f}s"
        self._console.print(f"[dim]{at_s}[/dim] [bold cyan]{letter}[/bold cyan] [bold]{escape(text)}[/bold]")
        try:
            with self._waiting():
                yield
        finally:
            self.phases[key] = round(time.monotonic() - began, 3)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        if not self._console.is_terminal:
            yield
            return
        columns = (TextColumn("      "), SpinnerColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            progress.add_task("", total=None)
            yield
