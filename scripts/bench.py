"""`make bench`: every benchmark of the house in one run, as a table and as bench.json.

Each part is a command of its own that writes JSON; a part that is not there yet is null.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PARTS: dict[str, list[str]] = {
    "recognition": ["-m", "recognition.cli", "benchmark"],
    "sync": [str(HERE / "bench_sync.py")],
    "server": [str(HERE / "bench_server.py")],
    "desk": [str(HERE / "bench_desk.py")],
    "board": [str(HERE / "bench_board.py")],
}


def run_part(command: list[str], folder: Path) -> dict[str, Any] | None:
    """The part's report; None where its script does not exist. Raises CalledProcessError."""
    if command[0].endswith(".py") and not Path(command[0]).is_file():
        return None
    file = folder / "part.json"
    subprocess.run(
        [sys.executable, *command, "--json", str(file)], check=True, cwd=HERE.parent, env=os.environ
    )
    report = json.loads(file.read_text(encoding="utf-8"))
    file.unlink()
    return dict(report)


def main() -> int:
    """Run all parts, write the file; returns 0, 1 where a part failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path("bench.json"), metavar="FILE")
    args = parser.parse_args()
    report: dict[str, Any] = {}
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        for name, command in PARTS.items():
            print(f"== {name}", flush=True)
            try:
                report[name] = run_part(command, Path(folder))
            except subprocess.CalledProcessError as error:
                failed.append(name)
                report[name] = None
                print(f"{name}: exit {error.returncode}", file=sys.stderr)
            if report[name] is None and name not in failed:
                print("not measured: this part has no benchmark yet")
    args.json.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {args.json}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
