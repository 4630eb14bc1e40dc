"""The README's commands do what it prints."""

import json
import re
import subprocess
import sys

from .conftest import ROOT, Stack

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_curl_lines_give_what_stands_below_them(stack: Stack) -> None:
    commands = [block for block in blocks("sh") if "http://127.0.0.1:8000" in block]
    accepted, predicted = (json.loads(block) for block in blocks("json"))
    pasted = "\n".join(commands).replace("http://127.0.0.1:8000", stack.url)
    ran = subprocess.run(["bash", "-c", pasted], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stderr
    job, done, of_table, prediction = (json.loads(line) for line in ran.stdout.splitlines())
    assert (of_table["model"], of_table["config"]["target"]) == ("planes", "seats")
    assert {name: job[name] for name in ("model", "status", "done")} == {
        name: accepted[name] for name in ("model", "status", "done")
    }
    assert (done["id"], done["done"]) == (job["id"], True)
    assert prediction == predicted


def test_every_verb_of_run_that_is_named_exists() -> None:
    shown = subprocess.run([sys.executable, "run", "help"], cwd=ROOT, capture_output=True, text=True, timeout=30).stdout
    named = set(re.findall(r"^\./run (\S+)", "\n".join(blocks("sh")), re.MULTILINE))
    assert named == {"up", "example", "test", "check", "chaos", "bench"}
    for verb in named:
        assert re.search(rf"^  {verb} ", shown, re.MULTILINE)


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if "://" not in target:
            assert (ROOT / target).exists(), target


def test_every_folder_of_the_table_exists() -> None:
    folders = [name for row in re.findall(r"^\| (`.*?/`) \|", README, re.MULTILINE) for name in row.split(", ")]
    assert len(folders) == 12
    for folder in folders:
        assert (ROOT / folder.strip("`")).is_dir(), folder


def test_it_is_short() -> None:
    assert len(README.splitlines()) < 150
