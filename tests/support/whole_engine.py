"""Compares everything a Docker Engine holds before the first test and after the last."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO

from docker_presence import Thing, things

CHECKOUT = "dev.envctl.checkout"
TEST = "envctl-test"  # the label of what tests create themselves

_WANTED = ("type=container", "type=volume", "event=create", "event=mount")
_EVENTS = ("docker", "events", *(p for w in _WANTED for p in ("--filter", w)), "--format", "{{json .}}")

SESSION = "ENVCTL_TEST_SESSION"


def session_folder() -> Path:
    """Where the projects of this test session are. Short, because Unix sockets below it have at most 108 characters."""
    return Path(tempfile.gettempdir()) / f"envctl-tests-{os.environ[SESSION]}"


class WholeEngine:
    """Watches the engine from now on.

    Other people may use the same engine meanwhile. Theirs is what carries labels of another envctl, or is a container
    or network without any label of envctl or of a test; a volume without a name belongs to who mounted it, which the
    engine's events tell.

    Args:
        ours: Folder of the session's projects: what has its checkout below is ours.
    """

    def __init__(self, ours: str) -> None:
        self._ours = ours
        self._before = {(thing.noun, thing.id) for thing in things()}
        self._events = EventRecorder()

    def left(self) -> list[str]:
        """What is there now and was not before, and is ours as far as can be told."""
        mounted_by = self._events.stop()
        found = []
        for thing in things():
            if (thing.noun, thing.id) in self._before:
                continue
            if self._is_ours(thing) or (thing.noun == "volume" and self._was_mounted_by_ours(thing, mounted_by)):
                found.append(str(thing))
        return found

    def _is_ours(self, thing: Thing) -> bool:
        return thing.labels.get(CHECKOUT, "").startswith(self._ours) or TEST in thing.labels

    def _was_mounted_by_ours(self, volume: Thing, mounted_by: dict[str, dict[str, str]]) -> bool:
        labels = mounted_by.get(volume.id, {})
        return labels.get(CHECKOUT, "").startswith(self._ours) or TEST in labels


class EventRecorder:
    """Records which container mounted which volume; `docker volume` itself does not tell it afterwards."""

    def __init__(self) -> None:
        self._file: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - open as long as the recorder
        # From a moment that has been, since it takes a while until they flow.
        self._process = subprocess.Popen(
            [*_EVENTS, "--since", f"{time.time():.3f}"],
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.DEVNULL,
        )

    def mounts(self) -> dict[str, dict[str, str]]:
        """Volume name → labels of the container that mounted it, as far as recorded."""
        return _mounts(os.pread(self._file.fileno(), 1 << 30, 0).decode(errors="replace"))

    def stop(self) -> dict[str, dict[str, str]]:
        """The same at the end."""
        self._process.terminate()
        self._process.wait(timeout=10)
        flowed = os.pread(self._file.fileno(), 1 << 30, 0).decode(errors="replace")
        self._file.close()
        # The newest may have been under way; the engine remembers the last 256.
        now = [*_EVENTS, "--since", f"{time.time() - 60:.3f}", "--until", f"{time.time():.3f}"]
        remembered = subprocess.run(now, capture_output=True, text=True, timeout=30, check=False).stdout
        return _mounts(f"{flowed}\n{remembered}")


def _mounts(text: str) -> dict[str, dict[str, str]]:
    labels: dict[str, dict[str, str]] = {}
    mounted: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        try:
            event = json.loads(line)
        except ValueError:  # the last line, half written
            continue
        actor = event["Actor"]
        if event["Type"] == "container":
            labels[actor["ID"]] = actor["Attributes"]
        elif event["Action"] == "mount":
            mounted[actor["ID"]] = labels.get(actor["Attributes"].get("container", ""), {})
    return mounted
