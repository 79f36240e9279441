"""What may be a password: nothing that anybody would try, and nothing that was stolen elsewhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

from attendance.i18n import say
from server.errors import InputInvalid

#: NIST SP 800-63B asks for 8 at least; supervisors' accounts show whereabouts, so 12.
MIN_PASSWORD = 12
#: Longer ones would only keep argon2 busy.
MAX_PASSWORD = 256
#: What somebody tries first here; the account's and the township's names come to them.
_TRIED = ("quxiang", "password", "passwort", "passw0rd", "admin", "welcome", "letmein", "iloveyou",
          "woaini", "1314", "520", "mima", "去向", "密码", "乡镇")  # fmt: skip
#: Rows of keys and of the alphabet; whoever follows them, in either direction, chooses nothing.
_ROWS = ("01234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop", "asdfghjkl", "zxcvbnm",
         "1qaz2wsx3edc4rfv5tgb6yhn7ujm")  # fmt: skip
#: Characters that must differ in what is left of a password without all that.
LEAST_OWN = 5


def check_password(password: str, *names: str, breached: Path | None = None) -> None:
    """Raises InputInvalid for what anybody would try.

    A password has 12 to 256 characters (`password_length`), five different ones of them beside
    frequent words, `names` (the account's, the township's) and runs along the keys
    (`password_easy`), is not made up of frequent passwords (`password_frequent`) and stands in no
    list of stolen ones, where there is such a file (`password_stolen`; see `is_stolen`).
    """
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise InputInvalid(
            "password_length",
            say(
                f"密码需要 {MIN_PASSWORD} 至 {MAX_PASSWORD} 个字符",
                f"a password has {MIN_PASSWORD} to {MAX_PASSWORD} characters",
            ),
            "password",
        )
    if len(set(_own(password, names))) < LEAST_OWN:
        raise InputInvalid(
            "password_easy",
            say(
                "密码太容易猜：除账号名、乡镇名、常用词和连续按键外，至少还要五个不同的字符",
                "too easy to guess: beside the names of account and township, frequent words and "
                "runs of keys a password has five different characters at least",
            ),
            "password",
        )
    if _guesses(password, names) < LEAST_GUESSES:
        raise InputInvalid(
            "password_frequent",
            say(
                "密码由常见密码或常见词、日期拼成，很快会被猜中",
                "made up of passwords, words or dates that many people use: soon guessed",
            ),
            "password",
        )
    if breached is not None and is_stolen(breached, password):
        raise InputInvalid(
            "password_stolen",
            say("这个密码在已泄露密码名单中", "this password stands in the list of stolen ones"),
            "password",
        )


def _own(password: str, names: tuple[str, ...]) -> str:
    """What is left of a password without what anybody would try."""
    left = password.casefold()
    for word in (*names, *_TRIED):
        if len(word) > 1:
            left = left.replace(word.casefold(), " ")
    for row in (*_ROWS, *(row[::-1] for row in _ROWS)):
        for size in range(min(len(row), len(left)), 3, -1):  # the longest first
            for start in range(len(row) - size + 1):
                left = left.replace(row[start : start + size], " ")
    return left.replace(" ", "")


#: Guesses that a password is worth at least: 30,000 frequent passwords by 30,000, and some more.
LEAST_GUESSES = 10**9
#: Characters that are looked at for it; it takes 30 ms for so many, and longer for more.
_LOOKED_AT = 72


def _guesses(password: str, names: tuple[str, ...]) -> float:
    """How many guesses whoever knows what people choose would need.

    zxcvbn carries the 30,000 most frequent passwords, names and words, and finds them in a row,
    backwards, with digits for letters, with dates and repeated.
    """
    from zxcvbn import zxcvbn  # type: ignore[import-untyped] # its lists are loaded with the first new password

    found = zxcvbn(password[:_LOOKED_AT], user_inputs=[name for name in names if len(name) > 1])
    return float(found["guesses"])


def is_stolen(listed: Path, password: str) -> bool:
    """Whether the password's SHA-1 stands in a file, False where there is none.

    Lines are 40 hexadecimal digits and whatever follows (`:12`), sorted, as "Pwned Passwords" gives
    them: some 40 GB are looked through in forty steps. Nothing is asked over the network.
    """
    wanted = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest().upper().encode()
    try:
        with listed.open("rb") as file:
            low, high = 0, file.seek(0, 2)
            while low < high:  # the line wanted begins in low..high
                middle = (low + high) // 2
                file.seek(middle)
                if middle:
                    file.seek(middle - 1)
                    file.readline(200)
                start = file.tell()
                line = file.readline(200)
                if not line or start >= high:
                    high = middle
                    continue
                found = line[:40].upper()
                if found == wanted:
                    return True
                low, high = (start + len(line), high) if found < wanted else (low, middle)
    except OSError:
        return False
    return False
