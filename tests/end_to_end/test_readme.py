"""The README's commands do what it prints."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.stack import ROOT, Stack

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_curl_lines_give_what_stands_below_them(stack: Stack) -> None:
    (commands,) = [block for block in blocks("sh") if "http://127.0.0.1:8000" in block]
    (answers,) = blocks("json")
    accepted, predicted = map(json.loads, answers.splitlines())
    pasted = commands.replace("http://127.0.0.1:8000", stack.url)
    ran = subprocess.run(["bash", "-c", pasted], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stderr
    job, done, prediction = (json.loads(line) for line in ran.stdout.splitlines())
    assert {name: job[name] for name in ("model", "status", "done")} == {
        name: accepted[name] for name in ("model", "status", "done")
    }
    assert (done["id"], done["done"]) == (job["id"], True)
    assert prediction == predicted | {"version": prediction["version"]}


def test_the_python_lines_train_and_predict(stack: Stack) -> None:
    (program,) = blocks("python")
    pasted = program.replace("http://127.0.0.1:8000", stack.url)
    ran = subprocess.run([sys.executable, "-c", pasted], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    figures, predictions = ran.stdout.split("\n", 1)
    assert float(figures.split()[1]) > 0.9
    assert len(predictions.strip("[] \n").split()) == 3


def test_the_shell_lines_train_and_predict(stack: Stack, tmp_path: Path) -> None:
    (commands,) = [block for block in blocks("sh") if "perceptron train" in block]
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    command = f'set -e -o pipefail; perceptron() {{ "{sys.executable}" -P -m cli "$@"; }}\n{commands}'
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PERCEPTRON_URL": stack.url}
    ran = subprocess.run(["bash", "-c", command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=90)
    assert ran.returncode == 0, ran.stderr
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 3323
    assert "prediction,output,contribution_year" in ran.stdout and "status\tsucceeded" in ran.stdout


def test_curl_python_and_shell_have_about_ten_lines_each() -> None:
    calls = ("curl -s", "perceptron train")
    curl, shell = (block for block in blocks("sh") if any(call in block for call in calls))
    for block in (curl, shell, *blocks("python")):
        assert 8 <= len(block.splitlines()) <= 11


def test_every_verb_of_run_that_is_named_exists() -> None:
    shown = subprocess.run([sys.executable, "run", "help"], cwd=ROOT, capture_output=True, text=True, timeout=30).stdout
    named = set(re.findall(r"^\./run (\S+)", "\n".join(blocks("sh")), re.MULTILINE))
    assert named == {"up", "example", "test", "check", "chaos", "fuzz", "bench"}
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
