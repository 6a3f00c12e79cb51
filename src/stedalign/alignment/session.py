"""A session: one run of the loop with its folder, its append-only log and its summary."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stedalign.alignment.model_based import Centered, Event, Finished, Measured
from stedalign.files import json_text, replacing, write_json
from stedalign.formats.ome_tiff import save_sections
from stedalign.provenance import environment


@dataclass
class Session:
    """Records the events of one loop in ``folder``: ``log.jsonl`` and every image."""

    folder: Path
    before: Measured | None = field(default=None, init=False)
    """The first image that was understood."""
    finished: Finished | None = field(default=None, init=False)
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

    def record(self, events: Generator[Event]) -> Generator[Event]:
        """Pass the events on, each after its line is in the log."""
        with closing(events), (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            try:
                for event in events:
                    self._note(event)
                    _append(log, self._line(event))
                    yield event
            except BaseException as error:
                _append(log, {"event": "aborted", "error": type(error).__name__, "message": str(error)})
                raise

    def _note(self, event: Event) -> None:
        if isinstance(event, Measured):
            self.corrections = event.number
            self.images += 1
            save_sections(self.folder / f"image-{self.images}.ome.tif", event.sections)
            if self.before is None and event.estimate.accepted:
                self.before = event
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
            "correction": event.correction.to_json() if event.correction else None,
            "estimate": event.estimate.to_json(),
            "correlation": event.correlation,
            "kept": event.kept,
            "image": f"image-{self.images}.ome.tif",
            "image_sha256": hashlib.sha256(event.sections.data.tobytes()).hexdigest(),
            "mask_sha256": hashlib.sha256(event.levels.tobytes()).hexdigest(),
        }


def _append(log: Any, line: dict[str, Any]) -> None:
    stamped = {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **line}
    log.write(json_text(stamped, indent=None) + "\n")
    log.flush()
    os.fsync(log.fileno())
