"""A session: one run of a strategy with its folder, its append-only log and its images."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stedalign.alignment.bench import Bench
from stedalign.alignment.events import Event, Finished, Measured
from stedalign.alignment.policy import Policy
from stedalign.files import json_text, replacing, write_json
from stedalign.formats.ome_tiff import save_sections
from stedalign.provenance import environment


@dataclass
class Session:
    """Records the events of one run in ``folder``: ``log.jsonl`` and every image."""

    folder: Path
    before: Measured | None = field(default=None, init=False)
    """The first image that was understood."""
    corrections: int = field(default=0, init=False)
    images: int = field(default=0, init=False)

    @classmethod
    def start(cls, folder: Path, setup_toml: str, **facts: Any) -> Session:
        """Make the folder and write the resolved setup, versions, git state and ``facts`` into it.

        Raises ``FileExistsError`` where the folder already holds something, ``OSError`` where it cannot be made.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise FileExistsError(f"{folder} is not empty")
        session = cls(folder)
        with replacing(folder / "setup.toml") as path:
            path.write_text(setup_toml, encoding="utf-8")
        write_json(folder / "environment.json", {**environment(), **facts})
        return session

    def run(
        self,
        bench: Bench,
        strategy: Generator[Event, None, Finished],
        watch: Callable[[Event], None] = lambda event: None,
    ) -> Finished:
        """Run a strategy on its bench; ``watch`` is told each event, after its line is in the log.

        ``Restored`` and ``Finished`` are told last, when the microscope is already left. Where something cuts the run
        short, the log's last lines say how the microscope was left and why; then it is raised again.
        """
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:

            def tell(event: Event) -> None:
                _append(log, self._keep(event, bench.policy))
                watch(event)

            try:
                with bench:
                    finished = _outcome(strategy, tell)
            except BaseException as error:
                # Where the log itself is what failed, its own error is the one to raise.
                with suppress(OSError):
                    _append(log, bench.restored.to_json())
                    _append(log, {"event": "aborted", "error": type(error).__name__, "message": str(error)})
                raise
            tell(bench.restored)
            tell(finished)
        return finished

    def _keep(self, event: Event, policy: Policy) -> dict[str, Any]:
        """The event's line in the log, after its image is saved."""
        line = event.to_json()
        if isinstance(event, Measured):
            self.corrections = event.number
            self.images += 1
            line["image"] = f"image-{self.images}.ome.tif"
            save_sections(self.folder / line["image"], event.sections)
            if self.before is None and policy.accepts(event.estimate):
                self.before = event
        return line


def _outcome(strategy: Generator[Event, None, Finished], tell: Callable[[Event], None]) -> Finished:
    """Tell every event of a strategy; its return value."""
    while True:
        try:
            event = next(strategy)
        except StopIteration as end:
            finished: Finished = end.value
            return finished
        tell(event)


def _append(log: Any, line: dict[str, Any]) -> None:
    stamped = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **line}
    log.write(json_text(stamped, indent=None) + "\n")
    log.flush()
    os.fsync(log.fileno())
