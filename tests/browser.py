"""A real browser, Debian's chromium, for the pages that people look at."""

import shutil
from contextlib import contextmanager

from tests.support import skip_unless_required

CHROMIUM = shutil.which("chromium")


def need_browser():
    """Skip a test where there is no browser, or nothing that drives it."""
    try:
        import playwright  # noqa: F401
    except ImportError:
        skip_unless_required("BROWSER", "no playwright; it is among the extra `dev`")
    if CHROMIUM is None:
        skip_unless_required("BROWSER", "no chromium; Debian has it as the package chromium")


@contextmanager
def browser():
    """A page of a browser that runs here, and what its console told that nobody wants to read."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--use-gl=swiftshader"]
        )
        page = running.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)
        complaints = []
        page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        yield page, complaints
        running.close()
