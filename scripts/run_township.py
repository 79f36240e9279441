"""`make run`: a township server, an enrolment desk and one kiosk on this machine.

Every step is one of the console scripts that a real deployment uses, started as its own process;
this file only starts them in order, remembers which were done, and ends them cleanly.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from attendance.days import SHANGHAI
from attendance.i18n import language, say

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
#: The site at which the sample footage's officials are expected (`sample_footage.SITE`).
SITE = "杏树村 Xingshu village"
TOWNSHIP = "示例乡 Sample township"
#: Shown on the kiosk's screen all the time; `.run/sample/ORIGIN.txt` says it picture by picture.
NOTICE = "肖像：白宫、NASA 公有领域照片 · Portraits: White House, NASA (public domain)"
#: Longest that a server may take until it answers, in seconds: migrations on a slow card included.
START_SECONDS = 60.0
#: Longest that a process may take to end after it was asked to, in seconds.
STOP_SECONDS = 15.0


class CannotRun(Exception):
    """One line that says why, and what to do."""


class Township:
    """The processes of one small township, and what was already set up in its folder."""

    def __init__(self, folder: Path, port: int, screen: int) -> None:
        self.folder = folder
        self.port = port
        self.screen = screen
        self.running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._state_file = folder / "state.json"
        self.state: dict[str, str] = {}
        if self._state_file.exists():
            self.state = json.loads(self._state_file.read_text(encoding="utf-8"))

    @property
    def url(self) -> str:
        """Where the township's server answers."""
        return f"http://127.0.0.1:{self.port}"

    def data(self, role: str) -> str:
        """The folder that a role keeps everything in."""
        return str(self.folder / role)

    def remember(self, step: str, value: str = "done") -> None:
        """Notes a finished step, so that the next run skips it. The file may hold a password."""
        self.state[step] = value
        waiting = self._state_file.with_suffix(".new")
        with os.fdopen(os.open(waiting, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            json.dump(self.state, f, ensure_ascii=False, indent=1)
        waiting.replace(self._state_file)

    def command(self, name: str, *arguments: str) -> str:
        """Runs a command to its end and gives what it printed. Raises CannotRun with its line."""
        done = subprocess.run([str(BIN / name), *arguments], capture_output=True, text=True)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()]
            raise CannotRun(lines[-1] if lines else f"{name} {arguments[0]}: {done.returncode}")
        return done.stdout

    def start(self, name: str, *arguments: str, log: str | None = None) -> None:
        """Starts a command that stays; its output goes to `log` in the folder, else to ours."""
        # A group of its own: Ctrl-C reaches this script alone, which then ends them in order.
        output = None if log is None else (self.folder / log).open("ab")
        process = subprocess.Popen(
            [str(BIN / name), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            start_new_session=True,
        )
        if output is not None:
            output.close()
        self.running.append((name, process))

    def wait_until_served(self) -> None:
        """Returns when the server answers. Raises CannotRun when it ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check_alive()
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"{self.url}/healthz", timeout=2).close()  # noqa: S310  # nosec B310 # our own address
                return
            time.sleep(0.1)
        raise CannotRun(say("服务器未能启动，请查看 ", "the server did not start; see ")
                        + str(self.folder / "server.log"))  # fmt: skip

    def check_alive(self) -> None:
        """Raises CannotRun when one of the processes has ended."""
        for name, process in self.running:
            if process.poll() is not None:
                raise CannotRun(
                    say(f"{name} 意外退出，请查看 {self.folder} 中的日志",
                        f"{name} ended; see the logs in {self.folder}")
                )  # fmt: skip

    def stop(self) -> None:
        """Ends everything, last started first: the kiosk's last records still reach the server."""
        for _, process in reversed(self.running):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        self.running.clear()


@contextlib.contextmanager
def ended_cleanly(township: Township) -> Iterator[None]:
    """Stops the township's processes however the block ends."""
    try:
        yield
    finally:
        township.stop()


def require_free(port: int, option: str) -> None:
    """Raises CannotRun where something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise CannotRun(
                say(
                    f"端口 {port} 已被占用：请停止占用的程序，或换端口 make run ARGS='{option} N'",
                    f"port {port} is taken: stop what uses it, or make run ARGS='{option} N'",
                )
            ) from None


def set_up(township: Township, camera: int | None) -> None:
    """Whatever of server, desk, kiosk and people is not there yet."""
    server, desk, kiosk = (township.data(role) for role in ("server", "enroll", "kiosk"))
    if "password" not in township.state:
        print(say("建立乡镇服务器 ...", "Setting up the township's server ..."), flush=True)
        out = township.command("quxiang-server", "init", "--data", server, "--township", TOWNSHIP)
        township.remember("password", out.splitlines()[-1].strip())
    township.start(
        "quxiang-server", "run", "--data", server, "--port", str(township.port), log="server.log"
    )
    township.wait_until_served()
    if "desk" not in township.state:
        print(say("配对登记台和终端 ...", "Pairing the desk and the kiosk ..."), flush=True)
        code = township.command("quxiang-server", "code", "--data", server, "--kind", "desk")
        township.command(
            "quxiang-enroll",
            "pair",
            "--data",
            desk,
            "--server",
            township.url,
            "--code",
            code.strip(),
        )
        township.remember("desk")
    if "kiosk" not in township.state:
        code = township.command(
            "quxiang-server", "code", "--data", server, "--kind", "kiosk",
            "--site", SITE, "--site-kind", "village",
        )  # fmt: skip
        township.command(
            "quxiang-kiosk",
            "pair",
            "--data",
            kiosk,
            "--server",
            township.url,
            "--code",
            code.strip(),
        )
        township.remember("kiosk")
    if camera is None and "sample" not in township.state:
        print(say("准备样片 ...", "Preparing the sample footage ..."), flush=True)
        done = subprocess.run(
            [sys.executable, str(ROOT / "scripts/sample_footage.py"), township.data("sample")],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        if done.returncode:
            raise CannotRun(done.stderr.strip().splitlines()[-1])
        print(say("采集示例人员 ...", "Enrolling the sample officials ..."), flush=True)
        township.command("quxiang-enroll", "import", township.data("sample/enrol"), "--data", desk)
        township.remember("sample")


def enrol_yourself(township: Township, camera: int) -> None:
    """With a camera: how to enrol oneself, and the guided capture at once where there is a hand."""
    today = datetime.now(SHANGHAI).date().isoformat()
    arguments = [
        "capture", "me", "--name", say("我", "Me"), "--sites", SITE, "--camera", str(camera),
        "--consented-on", today, "--data", township.data("enroll"),
    ]  # fmt: skip
    shown = " ".join(["quxiang-enroll", *arguments])
    print(
        say(
            "登记自己的人脸（采集时须先停止终端）：",
            "To enrol yourself (the kiosk must be stopped):",
        )
    )
    print(f"  {shown}")
    if "captured" in township.state or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    question = say(
        "现在登记吗？照片不保存，只留下加密的特征。输入 y 表示同意 [y/N] ",
        "Enrol now? No photograph is kept, only an encrypted template. y is your consent [y/N] ",
    )
    if input(question).strip().lower() == "y":
        done = subprocess.run([str(BIN / "quxiang-enroll"), *arguments])
        if done.returncode == 0:
            township.remember("captured")


def start_kiosk(township: Township, camera: int | None) -> None:
    """The kiosk on the camera, or on sample footage with everything said about it."""
    common = ["run", "--data", township.data("kiosk"), "--screen", str(township.screen)]
    if camera is not None:
        township.start("quxiang-kiosk", *common, "--camera", str(camera), log="kiosk.log")
        return
    footage = str(Path(township.data("sample")) / "footage.avi")
    township.start(
        "quxiang-kiosk", *common, "--camera", footage, "--loop", "--liveness", "off",
        "--notice", NOTICE, log="kiosk.log",
    )  # fmt: skip


def make_demo(township: Township) -> None:
    """The made-up township, once; its accounts are kept to be shown again."""
    if "demo" in township.state:
        return
    shutil.rmtree(township.folder / "demo", ignore_errors=True)  # half made, where it was stopped
    print(say("生成演示乡镇（约一分钟）...", "Making the demo township (about a minute) ..."),
          flush=True)  # fmt: skip
    making = subprocess.Popen(
        [str(BIN / "quxiang-server"), "demo", "--data", township.data("demo")],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    accounts = []
    for line in making.stdout or ():
        if re.match(r"\w+  [0-9A-Z]{4}-", line):
            accounts.append(line.strip())
        elif " 5/" in line or "0/" in line or "/" not in line:
            print(f"  {line.strip()}", flush=True)
    if making.wait():
        raise CannotRun("quxiang-server demo")
    township.remember("demo", "\n".join(accounts))


def run_demo(township: Township) -> None:
    """Serves the made-up township until Ctrl-C: no kiosk, a month of what kiosks sent."""
    make_demo(township)
    township.start(
        "quxiang-server", "run", "--data", township.data("demo"), "--port", str(township.port),
        log="demo.log",
    )  # fmt: skip
    township.wait_until_served()
    print()
    print(f"{say('公开去向牌', 'public board')}: {township.url}/")
    print(f"{say('督导页面', 'supervisors')}: {township.url}/day")
    print(say("账号：", "accounts:"))
    for line in township.state["demo"].splitlines():
        print(f"  {line}")
    print(say("按 Ctrl-C 结束。", "Ctrl-C ends everything."), flush=True)
    while True:
        township.check_alive()
        time.sleep(0.5)


def tell(township: Township, camera: int | None) -> None:
    """Where everything is."""
    zh = language() == "zh"
    print()
    rows = [
        ("公开去向牌" if zh else "public board", f"{township.url}/"),
        ("督导页面" if zh else "supervisor's page", f"{township.url}/day"),
        ("　账号" if zh else "  account", "admin"),
        ("　一次性密码" if zh else "  one-time password", township.state["password"]
         + (" （首次登录后作废）" if zh else " (void once you have chosen your own)")),
        ("终端屏幕" if zh else "kiosk's screen", f"http://127.0.0.1:{township.screen}/"),
        ("数据" if zh else "data", str(township.folder)),
    ]  # fmt: skip
    for name, value in rows:
        print(f"{name}: {value}")
    if camera is None:
        print(say("没有摄像头：播放公开肖像合成的样片，活体检测关闭，记录中如实注明。",
                  "No camera: playing sample footage made of public portraits, with the liveness "
                  "check off; screen and records say so."))  # fmt: skip
        sample = Path(township.data("sample"))
        listed = sample / "enrol/officials.csv"
        print(
            say(f"肖像来源：{sample / 'ORIGIN.txt'}", f"whose portraits: {sample / 'ORIGIN.txt'}")
        )
        print(say(f"示例人员和 PIN：{listed}", f"sample officials and their PINs: {listed}"))
    print(say("整个演示乡镇（28 个村、一个月的记录、各种账号）：make run ARGS=--demo",
              "A whole township (28 villages, a month of records, every role): "
              "make run ARGS=--demo"))  # fmt: skip
    print(say("按 Ctrl-C 结束。", "Ctrl-C ends everything."), flush=True)


def main() -> int:
    """Runs until Ctrl-C; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / ".run", help="where everything is kept"
    )
    parser.add_argument("--port", type=int, default=8000, help="the server's port")
    parser.add_argument("--screen", type=int, default=8001, help="the kiosk screen's port")
    parser.add_argument("--camera", help="a camera's number, or `none` for the sample footage")
    parser.add_argument(
        "--demo", action="store_true", help="a made-up township with a month of records instead"
    )
    options = parser.parse_args()
    # `kill` ends it as Ctrl-C does, and Ctrl-C does even where a shell had it ignored.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)
    township = Township(options.folder, options.port, options.screen)
    try:
        require_free(options.port, "--port")
        if not options.demo:
            require_free(options.screen, "--screen")
        township.folder.mkdir(parents=True, exist_ok=True)
        with ended_cleanly(township):
            if options.demo:
                run_demo(township)
            camera = choose_camera(options.camera)
            set_up(township, camera)
            if camera is not None:
                enrol_yourself(township, camera)
            # Started after any capture, which keeps the desk's folder to itself.
            township.start(
                "quxiang-enroll",
                "sync",
                "--watch",
                "--data",
                township.data("enroll"),
                log="desk.log",
            )
            start_kiosk(township, camera)
            tell(township, camera)
            while True:
                township.check_alive()
                time.sleep(0.5)
    except KeyboardInterrupt:
        print(say("\n已结束。数据保留。", "\nEnded. The data is kept."))
        return 0
    except (CannotRun, OSError) as error:
        print(f"make run: {error}", file=sys.stderr)
        return 1


def choose_camera(wanted: str | None) -> int | None:
    """The camera's number: the one asked for, else the first that opens, else None."""
    if wanted == "none":
        return None
    if wanted is not None:
        if not wanted.isdigit():
            raise CannotRun(f"--camera {wanted}: a number or `none`")
        return int(wanted)
    from hardware.camera import list_cameras

    cameras = list_cameras()
    return cameras[0] if cameras else None


if __name__ == "__main__":
    sys.exit(main())
