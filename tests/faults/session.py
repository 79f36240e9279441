"""The kiosk's screen in a tree: cage without a display of its own, and Chromium in it, full screen.

The unit's user, command and environment; a page of the test's stands where the kiosk's would.
"""

from __future__ import annotations

import re
import time

from tests.faults.rig import need
from tests.faults.tree import Tree
from tests.faults.unit import Unit

PORT = 18_001
SIZE = "1280x720"
"""What wlroots' headless output has."""
PAGE = """<!doctype html><meta charset="utf-8"><title>x</title><script>
setInterval(() => { new Image().src = `/size?${innerWidth}x${innerHeight}`; }, 1000);
</script>"""


def show_screen(tree: Tree, seconds: float = 240.0) -> None:
    """Starts the session and waits until its page fills the display. Raises Broken."""
    unit = Unit(tree, "quxiang-screen.service")
    user, folder = unit.words("User")[0], f"/run/{unit.words('RuntimeDirectory')[0]}"
    tree.run(f"install -d -m 700 -o {user} -g {user} {folder}")
    place = tree.folder / "tmp/session"
    place.mkdir(exist_ok=True)
    (place / "index.html").write_text(PAGE, "utf-8")
    session = (
        f"setpriv --reuid {user} --regid {user} --init-groups -- env XDG_RUNTIME_DIR={folder} "
        f"RUNTIME_DIRECTORY={folder} HOME={folder} SCREEN_PORT={PORT} SCREEN_PATH=/ "
        "WLR_BACKENDS=headless WLR_LIBINPUT_NO_DEVICES=1 WLR_RENDERER=pixman "
        + unit.words("ExecStart")[0]
    )
    # Both end with the file, however this test ends.
    tree.run(
        "touch on; (python3 -m http.server --bind 127.0.0.1 "
        f"{PORT} >served 2>&1 & server=$!; {session} >said 2>&1 & shown=$!; "
        "while [ -e on ]; do sleep 1; done; kill $server $shown) >/dev/null 2>&1 &",
        at="/tmp/session",
    )
    until = time.monotonic() + seconds
    try:
        while True:
            served = (place / "served").read_text("utf-8") if (place / "served").exists() else ""
            sizes = re.findall(r"/size\?(\d+x\d+)", served)
            if SIZE in sizes:
                return
            said = (place / "said").read_text("utf-8")[-1500:] if (place / "said").exists() else ""
            need(time.monotonic() < until, f"the page is not full screen: {sizes[-3:]}\n{said}")
            time.sleep(0.5)
    finally:
        (place / "on").unlink()
