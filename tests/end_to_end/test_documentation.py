"""The documentation in a real browser, which may load nothing from elsewhere."""

import shutil

import pytest
from playwright.sync_api import Request, sync_playwright

from .conftest import Stack

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_the_api_can_be_browsed_offline(stack: Stack) -> None:
    requests: list[str] = []
    errors: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            requests.append(request.url)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking", "--no-first-run"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("request", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(f"{stack.url}/docs")
        page.get_by_text("Train a model").first.wait_for(timeout=20_000)
        page.wait_for_timeout(500)
        browser.close()
    assert not errors
    assert [url for url in requests if not url.startswith(stack.url)] == []
