"""Every word of the kiosk's page, and the one instruction that it gives at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Pair = tuple[str, str]
"""The same said in Chinese and in English."""

WORDS: dict[str, Pair] = {
    "title": ("去向 · 签到", "Quxiang · Check-in"),
    "clock_sure": ("时间已核对", "Time verified"),
    "clock_doubtful": ("时间未核对", "Time not verified"),
    "link_ok": ("已联网", "Online"),
    "link_down": ("未联网，签到照常", "Offline; check-in works"),
    "link_new": ("正在连接", "Connecting"),
    "last_sync": ("上次同步", "Last sync"),
    "never": ("尚无", "none yet"),
    "since": ("自", "since"),
    "again": ("刚才已记录", "Recorded a moment ago"),
    "liveness_basic": (
        "缺少活体检测模型，请按提示转头",
        "Liveness weights missing: please turn your head as asked",
    ),
    "pending": ("待上传", "To upload"),
    "board": ("去向牌", "Whereabouts"),
    "board_empty": ("名单尚未到达", "The list has not arrived yet"),
    "pin": ("不用人脸 · 用密码", "Without a face · PIN"),
    "privacy": ("个人信息告知", "Privacy notice"),
    "language": ("English", "中文"),
    "picture": ("摄像头画面", "Live picture"),
    "banner_off": ("样片演示，活体检测已关闭", "Sample footage, liveness check off"),
    "banner_footage": ("样片演示", "Sample footage"),
    "close": ("关闭", "Close"),
    "back": ("返回", "Back"),
    "done": ("完成", "Done"),
    "hello": ("您好", "Hello"),
    "recorded": ("已记录", "Recorded"),
    "unverified": ("已记录，待核对", "Recorded, to be reviewed"),
    "unverified_more": (
        "本机无法核对您的身份，工作人员会核对。",
        "This kiosk could not verify you; the office will review it.",
    ),
    "by_face": ("人脸", "face"),
    "by_pin": ("密码", "PIN"),
    "by_card": ("刷卡", "card"),
    "by_manual": ("人工", "by hand"),
    "change": ("需要更改？请选择", "Something else? Choose"),
    "change_left": ("秒内可更改", "s left to change"),
    "leaving": ("下班离开", "Check out"),
    "reason": ("原因", "Reason"),
    "return": ("预计返回", "Expected return"),
    "open": ("不填", "Not given"),
    "day": ("天", "day"),
    "hour": ("时", "hour"),
    "confirm": ("确定", "Confirm"),
    "pick_name": ("请选择姓名，或输入编号", "Choose your name, or type your id"),
    "type_id": ("输入编号", "Type an id"),
    "pick_list": ("从名单选择", "Choose from the list"),
    "official_id": ("编号", "Official id"),
    "next": ("下一步", "Next"),
    "enter_pin": ("请输入六位密码", "Enter your six-digit PIN"),
    "second_factor": (
        "请再输入密码确认是您本人",
        "Please confirm with your PIN that it is you",
    ),
    "clear": ("清除", "Clear"),
    "delete": ("退格", "Delete"),
    "checking": ("正在核对……", "Checking ..."),
    "lost": ("页面与本机程序断开，正在重连", "The page lost the kiosk program; reconnecting"),
    "failed": ("没有成功，请再试一次", "That did not work, please try again"),
    "cleared": ("请再试一次", "Please try again"),
    "until": ("至", "until"),
    "declared": ("待批准", "awaiting approval"),
    "lamp_unknown": ("灯状态未知", "lamp unknown"),
    "device": ("本机编号与密钥指纹", "This kiosk's id and key fingerprint"),
    "head_code": ("记录链头码", "Head code of the records"),
}

NOTICE: list[tuple[Pair, Pair]] = [
    (
        ("本机记录什么", "What is stored here"),
        (
            "签到的时间、地点、方式和状态；经您书面同意后，保存由照片计算出的人脸模板。"
            "本机不保存照片和视频，陌生人的人脸不作任何保存。",
            "Time, place, way and status of your check-in; with your written consent, face "
            "templates computed from photographs. No picture or video is kept, and nothing of "
            "strangers.",
        ),
    ),
    (
        ("保存在哪里", "Where it is stored"),
        (
            "人脸模板和密码只在登记台电脑和本机加密保存，不上传互联网，服务器无法读取。"
            "签到记录上传至本乡镇服务器。",
            "Templates and PINs are encrypted on the enrolment desk and on this kiosk only; the "
            "server cannot read them and nothing goes to the internet. Check-ins go to the "
            "township's server.",
        ),
    ),
    (
        ("只比对站在框内的人", "Only who stands in the oval is compared"),
        (
            "只有站到近处、脸在椭圆框内的人才会被比对，路过的人不会。",
            "Only a face held near, inside the oval, is compared. People passing behind are not.",
        ),
    ),
    (
        ("不用人脸也一样", "A PIN has equal standing"),
        (
            "您可以用密码签到，效力与人脸完全相同，不需要说明理由。",
            "You may check in with a PIN instead. It counts exactly the same; no reason is asked.",
        ),
    ),
    (
        ("如何撤回同意", "How to withdraw consent"),
        (
            "随时向登记台（党政办）口头或书面提出即可。您的人脸模板会从登记台和各签到机删除，"
            "之后照常使用密码。",
            "Tell the enrolment desk (township office) at any time, in speech or writing. Your "
            "templates are erased from desk and kiosks; you go on with your PIN.",
        ),
    ),
    (
        ("法律依据", "Legal basis"),
        (
            "《个人信息保护法》第二十八、二十九、四十七条；《人脸识别技术应用安全管理办法》"
            "（2025年6月1日起施行）第八、十条。您有权查阅、更正和删除您的信息。",
            "Personal Information Protection Law, Art. 28, 29, 47; Measures for the Security "
            "Management of Facial Recognition (in force 2025-06-01), Art. 8, 10. You may see, "
            "correct and erase your data.",
        ),
    ),
]

LOOK_HERE: Pair = ("请站到框内，面对摄像头", "Stand in the oval and look into the camera")
STATES: dict[str, Pair] = {
    "store": (
        "暂时无法记录，请稍候，或找工作人员登记",
        "Cannot record at the moment: please wait, or tell the office",
    ),
    "camera": (
        "摄像头没有画面，请用密码签到",
        "The camera gives no picture: please use your PIN",
    ),
    "recognition": (
        "人脸识别暂不可用，请用密码签到",
        "Face recognition is not available: please use your PIN",
    ),
    "locked": (
        "人脸签到暂停一分钟，请用密码签到",
        "Face check-in pauses for a minute: please use your PIN",
    ),
    "ended": (
        "样片已播完，可用密码签到",
        "The footage has ended; PIN check-in goes on",
    ),
    "waiting": (
        "等待登记台发送名单；可输入编号和密码签到",
        "Waiting for the enrolment desk; check in by id and PIN meanwhile",
    ),
}


def instruction(state: Mapping[str, Any]) -> dict[str, str]:
    """The one thing to tell the person now, `{"zh", "en", "tone"}`, from the state of the feed.

    `tone` is `bad` (nobody can check in), `warn` (not by face), `act` (do this) or `idle`.
    """
    faults = state.get("faults") or {}
    for key in ("store", "camera", "recognition"):
        if key in faults:
            return _said(STATES[key], "bad" if key == "store" else "warn")
    for key in ("locked", "waiting", "ended"):
        if state.get(key):
            return _said(STATES[key], "warn")
    guidance = state.get("guidance")
    if guidance:
        return {"zh": guidance["zh"], "en": guidance["en"], "tone": "act"}
    return _said(LOOK_HERE, "idle")


def _said(pair: Pair, tone: str) -> dict[str, str]:
    return {"zh": pair[0], "en": pair[1], "tone": tone}


def word(key: str, lang: str) -> str:
    """A word of the page in `lang`, Chinese unless it is `en`."""
    return WORDS[key][1 if lang == "en" else 0]
