"""The documentation in a real browser: it works offline, and nothing in it leads to another host."""

import shutil

import pytest
from playwright.sync_api import Request, sync_playwright

from tests.stack import Stack

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
def test_the_api_can_be_browsed_offline(stack: Stack) -> None:
    requests: list[str] = []
    errors: list[str] = []

    def note(request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            requests.append(request.url)

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("request", note)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None)
        page.goto(f"{stack.url}/docs")
        page.get_by_text("Train a model").first.wait_for(timeout=20_000)
        page.wait_for_timeout(500)
        links = [link.get_attribute("href") or "" for link in page.locator("a[href]:visible").all()]
        buttons = " ".join(page.locator("button:visible").all_inner_texts())
        browser.close()
    assert not errors
    assert [url for url in requests if not url.startswith(stack.url)] == []
    assert [link for link in links if "//" in link and not link.startswith(stack.url)] == []
    for word in ("Share", "Generate SDKs", "Configure", "Developer Tools", "Open API Client", "Ask AI"):
        assert word not in buttons
