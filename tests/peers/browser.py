"""The browser that clients open: `BROWSER` names it, as on any desktop, and a person sits at it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self


class Browser:
    """Hands each address it is opened with to `opened`, in a thread of its own; what that raises is in `wrong`."""

    def __init__(self, folder: Path, opened: Callable[[str], None]) -> None:
        self.program = folder / "browser"
        self.wrong: list[Exception] = []
        self._addresses = folder / "addresses"
        self._opened = opened
        self._thread = threading.Thread(target=self._wait, daemon=True)

    def __enter__(self) -> Self:
        os.mkfifo(self._addresses, 0o600)
        self.program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$1" >"{self._addresses}"\n', encoding="utf-8")
        self.program.chmod(0o700)
        # Open for both, so that it neither waits for the first writer nor ends with the last.
        self._pipe = os.fdopen(os.open(self._addresses, os.O_RDWR), "r+b", buffering=0)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.write(b"\n")
        self._thread.join(10)
        self._pipe.close()

    def _wait(self) -> None:
        while address := self._pipe.readline().decode().strip():
            try:
                self._opened(address)
            except Exception as wrong:  # noqa: BLE001 - told by whoever waits for the client
                self.wrong.append(wrong)
