"""A session: one run of the loop with its folder, its append-only log and its summary."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stedalign.alignment.loop import Centered, Event, Finished, Measured
from stedalign.files import replacing, write_json
from stedalign.imaging.stacks import save_sections
from stedalign.provenance import environment


@dataclass
class Session:
    """Records the events of one loop in ``folder``: ``log.jsonl``, the pictures before and after."""

    folder: Path
    before: Measured | None = field(default=None, init=False)
    after: Measured | None = field(default=None, init=False)
    finished: Finished | None = field(default=None, init=False)
    corrections: int = field(default=0, init=False)

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

    def record(self, events: Iterator[Event]) -> Generator[Event]:
        """Pass the events on, each after its line is in the log."""
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            try:
                for event in events:
                    _append(log, self._line(event))
                    self._note(event)
                    yield event
            except BaseException as error:
                _append(log, {"event": "aborted", "error": type(error).__name__, "message": str(error)})
                raise

    def _note(self, event: Event) -> None:
        if isinstance(event, Measured):
            self.corrections = event.number
            if event.kept:
                name = "before" if self.before is None else "after"
                if self.before is None:
                    self.before = event
                self.after = event
                save_sections(self.folder / f"{name}.ome.tif", event.sections)
        elif isinstance(event, Finished):
            self.finished = event

    def _line(self, event: Event) -> dict[str, Any]:
        if isinstance(event, Centered):
            return {"event": "centered", "displacement_nm": list(event.displacement_nm)}
        if isinstance(event, Finished):
            return {"event": "finished", "converged": event.converged, "reason": event.reason}
        return {
            "event": "measured",
            "number": event.number,
            "correction": event.correction.to_json(),
            "estimate": event.estimate.to_json(),
            "correlation": event.correlation,
            "kept": event.kept,
            "picture_sha256": hashlib.sha256(event.sections.data.tobytes()).hexdigest(),
            "mask_sha256": hashlib.sha256(event.levels.tobytes()).hexdigest(),
        }


def _append(log: Any, line: dict[str, Any]) -> None:
    stamped = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **line}
    log.write(json.dumps(stamped) + "\n")
    log.flush()
    os.fsync(log.fileno())
