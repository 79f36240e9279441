"""Every word of the kiosk's page but the notice, and the one instruction it gives at a time."""

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
    "proposed": ("已留一张照片待审核", "A picture was kept for review"),
    "again": ("刚才已记录", "Recorded a moment ago"),
    "liveness_basic": (
        "缺少活体检测模型，请按提示转头",
        "Liveness weights missing: please turn your head as asked",
    ),
    "pending": ("待上传", "To upload"),
    "board": ("去向牌", "Whereabouts"),
    "more_below": ("▾ 下面还有 {count} 人", "▾ {count} more below"),
    "more_above": ("▴ 上面还有 {count} 人", "▴ {count} more above"),
    "board_empty": ("名单尚未到达", "The list has not arrived yet"),
    "pin": ("密码 · 刷卡 · 工牌", "PIN · card · badge"),
    "approach": ("请走近，看着摄像头", "Come near and look into the camera"),
    "to_board": ("看去向牌", "Show the board"),
    "troubles": ("故障提示", "Troubles"),
    "what_to_do": ("怎么办？", "What to do"),
    "state": ("运行状况", "Status"),
    "state_short": ("状况", "Status"),
    "state_outbox": ("待上传的记录", "Records to upload"),
    "state_outbox_value": ("{count} 条，最早的已等 {age}", "{count}, the oldest for {age}"),
    "state_rejected": ("被服务器退回的记录", "Rejected records"),
    "state_disk": ("剩余存储空间", "Free storage"),
    "state_clock": ("时钟", "Clock"),
    "state_clock_A": ("已核对（A 级）", "verified (class A)"),
    "state_clock_C": ("未核对（C 级）", "not verified (class C)"),
    "state_camera": ("摄像头", "Camera"),
    "state_lamps": ("指示灯", "Lamps"),
    "state_gallery": ("人脸库清单有效期至", "Gallery valid until"),
    "state_gallery_over": ("{day}，已过期", "{day}, expired"),
    "state_waiting": ("等待登记台", "waiting for the enrolment desk"),
    "state_heard": ("上次联系服务器", "Last contact with the server"),
    "state_ok": ("正常", "well"),
    "state_ended": ("样片已播完", "the footage has ended"),
    "state_none": ("无", "none"),
    "state_unknown": ("未知", "not known"),
    "age_min": ("{count} 分钟", "{count} min"),
    "age_h": ("{count} 小时", "{count} h"),
    "age_d": ("{count} 天", "{count} d"),
    "alone": ("与服务器断开，自", "No contact with the server since"),
    "alone_advice": (
        "签到照常，记录已保存；请查看网线和路由器。",
        "Check-in works and is kept; look at the cable and the router.",
    ),
    "lamp": ("灯", "Lamp"),
    "lamp_green": ("绿色", "green"),
    "lamp_blue": ("蓝色", "blue"),
    "lamp_yellow": ("黄色", "yellow"),
    "lamp_red": ("红色", "red"),
    "lamp_off": ("熄灭", "off"),
    "privacy": ("个人信息告知", "Privacy notice"),
    "language": ("English", "中文"),
    "picture": ("摄像头画面", "Live picture"),
    "banner_off": ("样片演示，活体检测已关闭", "Sample footage, liveness check off"),
    "banner_footage": ("样片演示", "Sample footage"),
    "close": ("关闭", "Close"),
    "back": ("返回", "Back"),
    "done": ("完成", "Done"),
    "hello": ("您好", "Hello"),
    "goodbye": ("再见", "Goodbye"),
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
    "change": ("需要更改？请选择", "Something else?"),
    "change_left": ("秒内可更改", "s to change"),
    "leaving": ("下班离开", "Check out"),
    "reason": ("原因", "Reason"),
    "return": ("预计返回", "Expected return"),
    "open": ("不填", "Not given"),
    "hour_less": ("早一小时", "An hour earlier"),
    "hour_more": ("晚一小时", "An hour later"),
    "in_0": ("今天", "Today"),
    "in_1": ("明天", "Tomorrow"),
    "in_2": ("后天", "2 days"),
    "in_7": ("一周后", "A week"),
    "confirm": ("确定", "Confirm"),
    "pick_name": ("请选择您的姓名", "Choose your name"),
    "type_name": ("输入姓名首字母或编号", "Type initials or your id"),
    "type_hint": ("例如 王芳：WF", "Wang Fang: WF"),
    "type_id": ("输入首字母或编号", "Type initials or an id"),
    "use_id": ("用编号", "Use the id"),
    "by_letter": ("按姓氏首字母", "By the surname's first letter"),
    "everybody": ("全部", "All"),
    "pick_list": ("从名单选择", "Choose from the list"),
    "official_id": ("编号", "Official id"),
    "next": ("下一步", "Next"),
    "enter_pin": ("请输入六位密码", "Enter your six-digit PIN"),
    "second_factor": (
        "请再输入密码确认是您本人",
        "Please confirm with your PIN that it is you",
    ),
    "after_card": ("请再输入您的密码", "Now enter your PIN"),
    "card_read": ("正在核对卡……", "Checking the card ..."),
    "clear": ("清除", "Clear"),
    "delete": ("退格", "Delete"),
    "checking": ("正在核对……", "Checking ..."),
    "lost": ("页面与本机程序断开，正在重连", "The page lost the kiosk program; reconnecting"),
    "failed": ("没有成功，请再试一次", "That did not work, please try again"),
    "cleared": ("请再试一次", "Please try again"),
    "tv_title": ("干部去向", "Whereabouts"),
    "tv_page": ("第 {page} / {pages} 页", "Page {page} of {pages}"),
    "tv_until": ("至", "to"),
    "tv_stale": ("与服务器断开，更新至", "No contact with the server, as of"),
    "tv_lost": ("本机程序无应答，停在", "The kiosk program does not answer, as of"),
    "until": ("至", "until"),
    "until_day": ("至{day}", "until {day}"),
    "declared": ("待批准", "pending"),
    "lamp_unknown": ("灯未知", "lamp unknown"),
    "device": ("本机编号与密钥指纹", "This kiosk's id and key fingerprint"),
    "head_code": ("链头码", "Head code"),
}

PAIRING_WORDS: dict[str, Pair] = {
    "title": ("去向 · 新终端配对", "Quxiang · Pairing a new kiosk"),
    **{key: WORDS[key] for key in ("privacy", "close")},
    "language": ("English", "中文"),
    "hint": (
        "请输入服务器地址和配对码，或插入带 quxiang-pair.json 的 U 盘。",
        "Type the server's address and the pairing code, or put in a USB stick with "
        "quxiang-pair.json.",
    ),
    "mark": ("本机密钥指纹", "Key fingerprint of this kiosk:"),
    "server": ("服务器地址", "Server's address"),
    "code": ("配对码（20 位）", "Pairing code (20 characters)"),
    "delete": ("退格", "Delete"),
    "other": ("换一栏", "Other field"),
    "pair": ("配对", "Pair"),
    "trying": ("正在连接……", "Connecting ..."),
    "failed": ("没有成功，请再试一次", "That did not work, please try again"),
    "compare": (
        "已配对。请与登记台上显示的密钥指纹核对：",
        "Paired. Compare this key fingerprint with the enrolment desk's:",
    ),
    "go_on": ("一致，开始使用", "They agree: go on"),
    "starting": ("正在启动……", "Starting ..."),
}

LOOK_HERE: Pair = ("请站到框内，面对摄像头", "Stand in the oval and look into the camera")
STATES: dict[str, Pair] = {
    "store": (
        "暂时无法记录，请稍候，或找工作人员登记",
        "Cannot record at the moment: please wait, or tell the office",
    ),
    "camera": (
        "摄像头暂不可用，请用密码签到",
        "The camera cannot be used now: please use your PIN",
    ),
    "recognition": (
        "人脸识别暂不可用，请用密码签到",
        "Face recognition is not available: please use your PIN",
    ),
    "locked": (
        "暂停人脸签到，请等一分钟，或用密码签到",
        "Face check-in pauses: wait a minute, or use your PIN",
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
