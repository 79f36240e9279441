"""`quxiang-kiosk`: the command line of one site's kiosk (commands.md)."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from attendance.errors import QuxiangError
from attendance.i18n import defect, language, say
from attendance.statuses import CHOOSABLE
from hardware.errors import HardwareError
from kiosk.config import default_data
from kiosk.errors import KioskError
from recognition.errors import RecognitionError

LAMP_DRIVERS = ("screen", "rgb", "shift", "apa102")
LIVENESS = ("doubtful", "passive", "challenge", "both", "off")


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(
        prog="quxiang-kiosk", description="A site's check-in kiosk: camera, lamps, store and sync."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    data = argparse.ArgumentParser(add_help=False)
    data.add_argument(
        "--data",
        type=Path,
        default=default_data(),
        metavar="DIR",
        help="where the kiosk keeps everything (default: %(default)s)",
    )

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[data], help=text, description=text)

    pair = add("pair", "make this machine a site's kiosk")
    pair.add_argument("--server", required=True, metavar="URL", help="the township's server")
    pair.add_argument("--code", required=True, help="the one-time code that the server printed")
    pair.add_argument(
        "--ca", type=Path, metavar="FILE", help="the server's own certificate, where it made one"
    )
    pair.add_argument(
        "--again",
        action="store_true",
        help="admit this folder's kiosk again at a server that lost it with an older backup",
    )

    _add_run(add("run", "run the kiosk"))

    checkin = add("checkin", "check in by official id and PIN, without a screen")
    checkin.add_argument("--official", required=True, metavar="ID", help="official id or name")
    checkin.add_argument(
        "--pin-stdin", required=True, action="store_true", help="read the PIN from standard input"
    )
    checkin.add_argument("--status", choices=[str(status) for status in CHOOSABLE])
    checkin.add_argument("--reason", help="why, in up to 40 characters")

    taken = add("import", "take a gallery from the enrolment desk's USB file")
    taken.add_argument("file", type=Path, metavar="FILE")

    desk = add("desk", "take another enrolment desk, in place of one that is lost")
    desk.add_argument(
        "fingerprint",
        metavar="FINGERPRINT",
        help="its key's, all sixteen characters as the new desk itself shows it",
    )
    desk.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="its USB file, where there is no network"
    )

    given = add("export", "move proposed template pictures into FILE for the enrolment desk")
    given.add_argument("file", type=Path, metavar="FILE")

    update = add("update", "fetch a newer release from the server, or take one from FILE")
    update.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="a signed release (.qxr)"
    )

    add("sync", "one exchange with the server")
    status = add("status", "say how the kiosk is")
    status.add_argument("--json", action="store_true", help="as one JSON object")

    lamps = commands.add_parser("lamps", help="the lamp board")
    kinds = lamps.add_subparsers(dest="lamps_command", required=True, metavar="COMMAND")
    test = kinds.add_parser("test", parents=[data], help="walk every lamp, naming its official")
    test.add_argument("--lamps", choices=LAMP_DRIVERS, metavar="DRIVER", help=_LAMPS_HELP)
    test.add_argument("--json", action="store_true", help="as one JSON object")
    test.add_argument(
        "--pause", type=float, metavar="S", help="seconds a colour (default: 0.5 on a terminal)"
    )

    doctor = add("doctor", "check everything a technician would, and say what to do")
    doctor.add_argument("--json", action="store_true", help="as one JSON object")
    doctor.add_argument("--camera", metavar="SOURCE", help="try this camera too")

    add("verify", "check this kiosk's chain of records")
    return parser


_LAMPS_HELP = (
    "screen, rgb, shift or apa102 (default: the one that DIR/wiring.toml names, rgb where it names "
    "none; screen without that file)"
)


def _add_run(run: argparse.ArgumentParser) -> None:
    run.add_argument(
        "--camera",
        required=True,
        metavar="SOURCE",
        help="camera number, video file, folder of pictures, RTSP URL or picamera2",
    )
    run.add_argument("--lamps", choices=LAMP_DRIVERS, metavar="DRIVER", help=_LAMPS_HELP)
    run.add_argument(
        "--until-end", action="store_true", help="exit when a file or folder has ended"
    )
    run.add_argument("--events", metavar="FILE", help="write events there, a JSON line each")
    run.add_argument("--screen", type=_port, metavar="PORT", help="serve the screen on that port")
    run.add_argument("--liveness", choices=LIVENESS, default="doubtful")
    run.add_argument(
        "--signs",
        type=_signs,
        metavar="LIST",
        help="what may call for the challenge besides: entry,display,light (default: none)",
    )
    run.add_argument("--realtime", action="store_true", help="pace a file by its own time")
    run.add_argument("--loop", action="store_true", help="play a file or folder for ever")
    run.add_argument("--notice", metavar="TEXT", help="a line that the screen always shows")
    run.add_argument(
        "--keep-days",
        type=_keep_days,
        metavar="N",
        help="how long records that the server holds stay here (at least 366, default 400)",
    )
    run.add_argument(
        "--stick",
        type=Path,
        metavar="DIR",
        help="where a USB stick is looked for (default: [stick] in kiosk.toml, or usual places)",
    )
    run.add_argument(
        "--card-needs-pin",
        action="store_true",
        help="a card alone is not enough: ask the PIN too (also [card] in kiosk.toml)",
    )
    run.add_argument("--engine", choices=("sface", "dlib"), default="sface")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: use 1 to 65535")
    return int(text)


def _signs(text: str) -> str:
    from recognition.cues import signs_of  # brings OpenCV, which `--help` need not wait for

    try:
        signs_of(text)
    except ValueError:
        raise argparse.ArgumentTypeError("choose among entry, display, light; or none") from None
    return text


def _keep_days(text: str) -> int:
    if not text.isdecimal() or int(text) < 366:
        raise argparse.ArgumentTypeError("acknowledged records stay at least 366 days")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit status. Every failure is one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without Chinese must not end it
    args = build_parser().parse_args(argv)
    args.data = args.data.expanduser().absolute()
    try:
        return _dispatch(args)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (QuxiangError, HardwareError, RecognitionError, OSError) as error:
        print(f"quxiang-kiosk: {one_line(error)}", file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001 - unforeseen, and still one line for whoever types
        print(f"quxiang-kiosk: {defect(error)}", file=sys.stderr)
        return 1


def one_line(error: Exception) -> str:
    """The sentence that a user reads, in their language."""
    if isinstance(error, KioskError | HardwareError | RecognitionError):
        text = error.words(language())
    elif isinstance(error, OSError) and error.strerror:
        about = f"{error.filename}: " if error.filename else ""
        zh = f"{about}{error.strerror}：请检查路径、空间和权限。"
        text = say(zh, f"{about}{error.strerror}: check path, free space and permissions")
    else:
        text = str(error)
    return " ".join(text.split())


def _dispatch(args: argparse.Namespace) -> int:
    if args.command == "run":
        from kiosk.run import main_run

        return main_run(args)
    if args.command == "doctor":
        from kiosk.doctor import main_doctor

        return main_doctor(args)
    if args.command == "update":
        from kiosk.update import do_update

        return do_update(args)
    from kiosk import commands

    name = "lamps_test" if args.command == "lamps" else args.command
    return int(getattr(commands, f"do_{name}")(args))


if __name__ == "__main__":
    sys.exit(main())
