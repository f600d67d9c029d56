"""The program ``mailroom-guest``: makes a component of a module by componentize-py."""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
from pathlib import Path

_WORLD = "full-handler"


def main() -> int:
    parser = argparse.ArgumentParser(prog="mailroom-guest")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build = commands.add_parser("build", help="make a component of a handler")
    build.add_argument("entry", type=Path, metavar="ENTRY.py", help="the module with the handler")
    build.add_argument("output", type=Path, metavar="OUTPUT.wasm", help="the component")
    arguments = parser.parse_args()
    return _build(arguments.entry, arguments.output)


def _build(entry: Path, output: Path) -> int:
    if not entry.is_file():
        print(f"mailroom-guest: there is no file {entry}", file=sys.stderr)
        return 1
    tool = Path(sysconfig.get_path("scripts"), "componentize-py")
    sdk = Path(__file__).parent
    # Where the SDK is not among the installed packages, it was installed in place.
    paths = dict.fromkeys([entry.parent, Path(sysconfig.get_path("purelib")), sdk.parent])
    output.parent.mkdir(parents=True, exist_ok=True)
    # The WIT is found by the file componentize-py.toml beside this one.
    command: list[str | Path] = [tool, "-w", _WORLD, "componentize", entry.stem, "-o", output]
    for path in paths:
        command += ["-p", path]
    try:
        return subprocess.run(command, check=False).returncode
    except FileNotFoundError:
        print(f"mailroom-guest: {tool} is missing: pip install componentize-py==0.25.1", file=sys.stderr)
        return 1
