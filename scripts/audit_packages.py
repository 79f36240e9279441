"""Are known faults in the packages that are installed? pip-audit, where it can be asked.

    python scripts/audit_packages.py

Exit status 1 where a package has a known fault. Without a network, or behind an index that is not
PyPI, nothing is known: that is said, and is no failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

LIMIT_S = 45


def verdict(code: int, said: str, wrong: str) -> tuple[int, str]:
    """What pip-audit's exit status and words come to: our own exit status, and one line."""
    try:
        held: Any = json.loads(said)
        packages = held["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = wrong.strip().splitlines()[-1:] or ["it said nothing"]
        return 0, f"pip-audit could not ask ({last[0][:160]}): nothing is known"
    faults = [
        f"{package['name']} {package.get('version', '')}: {fault['id']}"
        for package in packages
        for fault in package.get("vulns", ())
    ]
    known = sum("vulns" in package for package in packages)
    if faults:
        return 1, "known faults: " + "; ".join(faults)
    if not known:
        return 0, "pip-audit reached no database of faults: nothing is known"
    return 0, f"no known fault in {known} packages ({len(packages) - known} could not be looked up)"


def main() -> int:
    """Asks, and says in one line what came of it."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--format", "json",
             "--skip-editable", "--local", "--timeout", "5"],
            capture_output=True, text=True, timeout=LIMIT_S,
        )  # fmt: skip
        code, line = verdict(done.returncode, done.stdout, done.stderr)
    except subprocess.TimeoutExpired:
        code, line = 0, f"pip-audit had no answer within {LIMIT_S} s: nothing is known"
    print(line)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
