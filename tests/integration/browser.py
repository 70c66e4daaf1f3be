"""A headless Chromium, and visitors of a page in it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def executable() -> str:
    named = os.environ.get("CUVEE_TEST_BROWSER")
    found = named or next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        pytest.fail(
            "The page is tested in Chromium: install it (apt install chromium), or name one in CUVEE_TEST_BROWSER."
        )
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield running
        running.close()


@contextmanager
def visitor(browser: Browser, address: str, known: str) -> Iterator[Callable[..., Page]]:
    """A fresh browser profile at an address of the page; whatever the page complains of fails the test."""
    contexts, complaints = [], []

    def start(place: str = "", key: str | None = known, **options: object) -> Page:
        context = browser.new_context(**options)  # type: ignore[arg-type]
        contexts.append(context)
        if key:
            context.add_init_script(f"globalThis.localStorage?.setItem('cuvee.key', '{key}')")
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None
        )
        page.goto(f"{address}/{place}")
        return page

    yield start
    for context in contexts:
        context.close()
    assert complaints == []
