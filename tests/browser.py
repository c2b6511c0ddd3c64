"""A headless Chromium for the tests: found, installed, or a clear error. Never a silent skip.

`python tests/browser.py` makes sure that there is one: that of the machine, else Debian's package,
else what Playwright downloads. CORRIGENDA_BROWSER names one; CORRIGENDA_BROWSER=none goes without.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

NAMES = (
    *("chromium-headless-shell", "chromium", "chromium-browser"),
    *("google-chrome-stable", "google-chrome", "chrome"),
)
DEBIAN = "chromium-headless-shell"
VARIABLE = "CORRIGENDA_BROWSER"


def unwanted() -> bool:
    """Whether someone said, in so many words, that this machine goes without a browser."""
    return os.environ.get(VARIABLE) == "none"


def find() -> str | None:
    """Path of a Chromium: the one named, one on PATH, Playwright's own; None without any."""
    if named := os.environ.get(VARIABLE):
        return named
    if on_path := next(filter(None, map(shutil.which, NAMES)), None):
        return on_path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if os.path.exists(own) else None


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser. Raises RuntimeError where there is none."""
    from playwright.sync_api import sync_playwright

    path = find()
    if path is None:
        raise RuntimeError(
            "no Chromium on this machine. Run `make browser`, name one in "
            f"{VARIABLE}, or set {VARIABLE}=none to go without this test."
        )
    # The kernel gives root no sandbox of its own; pages here are ours and fetch nothing.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def install() -> None:
    """Get one by whichever way this machine allows."""
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", DEBIAN]
        subprocess.run(command, check=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    else:
        command = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
        subprocess.run(command, check=True)


def main() -> None:
    """Exit code 1, with one line, where none can be had."""
    if unwanted():
        print(f"{VARIABLE}=none: going without a browser")
        return
    try:
        if find() is None:
            install()
        with chromium() as browser:
            print(f"browser: {find()}, Chromium {browser.version}")
    except Exception as error:
        # Whatever went wrong, it is told in one line.
        raise SystemExit(
            f"no headless Chromium can be had ({str(error).splitlines()[0]}). Install one and name "
            f"it in {VARIABLE}, or set {VARIABLE}=none to go without the test of the report page."
        ) from None


if __name__ == "__main__":
    main()
