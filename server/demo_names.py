"""The names of the demo township: made up, and nobody's."""

from __future__ import annotations

SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁"
GIVEN = (
    "秀兰",
    "建国",
    "志强",
    "丽华",
    "小军",
    "海燕",
    "玉梅",
    "文斌",
    "晓东",
    "雪",
    "磊",
    "静",
    "永福",
    "春花",
    "立新",
    "明",
)
VILLAGES = (
    "杏树",
    "柳林",
    "石桥",
    "东沟",
    "西坡",
    "南湾",
    "北岭",
    "桃园",
    "松岗",
    "河口",
    "龙泉",
    "双井",
    "白杨",
    "清水",
)
TITLES = ("乡长", "副乡长", "党委委员", "科员", "科员", "科员", "驻村干部", "驻村干部")


def village(number: int) -> str:
    """The name of the village of that number, from 0; each number has its own."""
    turn, place = divmod(number, len(VILLAGES))
    return f"{('', '上', '下', '新', '老')[turn] if turn < 5 else turn}{VILLAGES[place]}村"
