"""`python -m server.printing FOLDER` makes FOLDER/out.pdf of FOLDER/in.html, as its own process, or
a table (out.xlsx, out.csv) of FOLDER/in.json.

WeasyPrint is pure Python: a month of 1,000 officials keeps a core busy for a minute, which no
worker has to spare. How far it is stands in `progress` (pages, or rows of a table), why it failed
in `error`.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
from pathlib import Path

#: Bytes and seconds of CPU that one paper may take: a month of 1,000 officials takes 0.8 GB, 70 s.
MAX_MEMORY = 3 << 30
MAX_SECONDS = 900
#: Words in `error`.
LIBRARIES, FAILED = "libraries", "failed"


class _Progress(logging.Handler):
    """Writes down the page that is being laid out."""

    def __init__(self, file: Path) -> None:
        super().__init__(logging.INFO)
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps the number of `Step 5 - Creating layout - Page N`."""
        if record.args and "Page" in str(record.msg):
            put(self._file, str(record.args[0] if isinstance(record.args, tuple) else ""))


def put(file: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def _table(folder: Path) -> int:
    from server import tables

    try:
        tables.write(folder, lambda rows: put(folder / "progress", str(rows)))
    except (MemoryError, OSError, ValueError, KeyError, TypeError) as error:
        print(repr(error), file=sys.stderr)
        put(folder / "error", FAILED)
        return 1
    finally:
        (folder / "in.json").unlink(missing_ok=True)
    return 0


def main(folder: Path) -> int:
    """Renders; returns the exit status."""
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    if (folder / "in.json").exists():
        return _table(folder)
    try:
        import weasyprint
        from weasyprint.urls import URLFetcher
    except (ImportError, OSError) as error:  # OSError: Pango is not on this machine
        print(error, file=sys.stderr)
        put(folder / "error", LIBRARIES)
        return 1
    logger = logging.getLogger("weasyprint.progress")
    logger.setLevel(logging.INFO)
    logger.addHandler(_Progress(folder / "progress"))
    try:
        html = (folder / "in.html").read_text(encoding="utf-8")
        # Nothing is fetched, from nowhere: a name in the roster may look like an address.
        fetcher = URLFetcher(allowed_protocols=())
        part = folder / "out.part"
        weasyprint.HTML(string=html, url_fetcher=fetcher).write_pdf(part)
        part.replace(folder / "out.pdf")
    except (MemoryError, OSError, ValueError, RuntimeError, RecursionError) as error:
        print(repr(error), file=sys.stderr)
        put(folder / "error", FAILED)
        return 1
    finally:
        (folder / "in.html").unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
