"""Looks for bytes that a reader does not take as it should: `./run fuzz [TARGET ...] [--seconds 60]`.

Atheris (Apache-2.0) changes the inputs of the corpus, guided by which lines of the code they reach. What meets a fault
is written to `--found`; kept in the corpus, every run of the tests tries it again.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.corpus import FOLDER


def main() -> int:
    """Fuzz each target in a process of its own, since a fault ends it. Return 1 if there was one."""
    parser = argparse.ArgumentParser(prog="./run fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all, if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--found", type=Path, default=Path("fuzz-found"), help="where inputs go that meet a fault")
    parser.add_argument("--only-here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.targets or sorted(path.name for path in FOLDER.iterdir())
    if unknown := set(names) - {path.name for path in FOLDER.iterdir()}:
        parser.error(
            f"there is no target {', '.join(sorted(unknown))}: {', '.join(sorted(p.name for p in FOLDER.iterdir()))}"
        )
    if given.only_here:
        _fuzz(names[0], given.seconds, given.found)
    given.found.mkdir(parents=True, exist_ok=True)
    faulty = []
    for name in names:
        command = [sys.executable, "-m", "tests.fuzz.fuzz", name, "--only-here"]
        ended = subprocess.run([*command, "--seconds", str(given.seconds), "--found", str(given.found)])
        print(f"{name}: {'a fault, see above' if ended.returncode else 'no fault'}", flush=True)
        faulty += [name] * (ended.returncode != 0)
    with contextlib.suppress(OSError):
        given.found.rmdir()  # nothing was found
    return 1 if faulty else 0


def _fuzz(name: str, seconds: int, found: Path) -> None:
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    with atheris.instrument_imports(include=["service", "storage", "perceptron"]):
        from tests.fuzz.targets import TARGETS
    with tempfile.TemporaryDirectory(prefix="fuzz-corpus-") as fresh:  # what is new would be far too much to keep
        limits = [f"-max_total_time={seconds}", "-max_len=8192", "-timeout=10", "-rss_limit_mb=3000", "-verbosity=0"]
        where = [f"-artifact_prefix={found}/{name}-", fresh, str(FOLDER / name)]
        atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", *where], TARGETS[name])
        atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    sys.exit(main())
