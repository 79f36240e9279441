"""The privacy notice, one touch away from everywhere, in both languages."""

from __future__ import annotations

from kiosk.screen.words import Pair

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
