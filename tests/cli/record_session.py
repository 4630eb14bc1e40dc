"""Record docs/session.txt: `.venv/bin/python -m tests.cli.record_session`.

Every command runs on a real terminal against a service of its own; what stays on the screen is written, without
colours. Names of temporary folders and the port are replaced by those of a first use.
"""

import re
import shutil
import tempfile
from pathlib import Path

from tests.cli.conftest import ENV, ROOT, Command
from tests.stack import Stack

SESSION = ROOT / "docs" / "session.txt"

COMMANDS = (
    "perceptron --help",
    "perceptron train planes.csv --target seat",
    "perceptron train planes.csv --target seats --exclude tailnum",
    "perceptron predict planes planes.csv -o planes-predictions.csv",
    "head -4 planes-predictions.csv",
    "perceptron train planes.csv --target seats --exclude tailnum --hidden 16 --seed 1",
    "perceptron show planes",
    "perceptron alias planes production 2",
    "head -3 planes.csv | perceptron predict planes@production - --explain --to jsonl",
    "perceptron jobs",
    "perceptron datasets",
    "perceptron doctor",
    "perceptron docter",
)

HEADING = """\
A session on a terminal, recorded by tests/cli/record_session.py. `perceptron up` runs in another
one. planes.csv is examples/planes.csv.
"""


def screen(text: str) -> str:
    """Return what stays on the screen: without colours, and of a line that was written over, the last state."""
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    return "\n".join(line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n"))


def main() -> None:
    """Write docs/session.txt."""
    with tempfile.TemporaryDirectory(prefix="perceptron-session-") as name:
        folder = Path(name)
        shutil.copy(ROOT / "examples" / "planes.csv", folder)
        stack = Stack(folder / "data").start()
        command = Command(None, folder)
        program = folder / "bin" / "perceptron"
        program.parent.mkdir()
        program.write_text("#!/bin/sh\nexec " + " ".join(command.line()) + ' "$@"\n')
        program.chmod(0o755)
        command.env |= {"PATH": f"{program.parent}:{ENV['PATH']}", "PORT": str(stack.port)}
        parts = [HEADING]
        try:
            for line in COMMANDS:
                with command.shell_on_terminal(line) as terminal:
                    terminal.finish()
                shown = screen(terminal.text).replace(stack.url, "http://127.0.0.1:8000")
                parts.append(f"$ {line}\n{shown.strip(chr(10))}\n".replace(str(stack.port), "8000"))
        finally:
            stack.stop()
        text = "\n".join(parts).replace(str(folder), "/home/you").replace(str(ROOT), "/home/you/perceptron")
        SESSION.write_text(text)


if __name__ == "__main__":
    main()
