"""What the audit trail says of accounts and sessions."""

from __future__ import annotations

from server.web import ruling_words, words
from server.web.say import Later, _l

ACTS: dict[str, Later] = {
    "login_failed": _l("Failed to sign in"),
    "refused": _l("Was refused a page of others"),
    "end_session": _l("Signed out a session"),
    "end_sessions": _l("Signed out all other sessions"),
    "second_set": _l("Set up a second step"),
    "second_recovery": _l("Made other recovery codes"),
    "second_off": _l("Switched the second step off"),
    "account_role": _l("Changed an account's role"),
    "account_on": _l("Put an account in force again"),
    "account_off": _l("Put an account out of force"),
    "account_password": _l("Gave an account a one-time password"),
    "account_second": _l("Reset an account's second step"),
    "view_accounts": _l("Looked at the accounts"),
    "view_account": _l("Looked at an account and where it is signed in"),
    "view_duty": _l("Looked at the duty roster"),
    "view_plates": _l("Looked at who has a plate"),
    "csv_audit": _l("Saved the audit trail"),
    "county_look": _l("Began to read this township for the county"),
    "account_sign_out": _l("Signed an account out"),
    "make_webhook": _l("Made a webhook"),
    "renew_webhook": _l("Made another secret of a webhook"),
    "resume_webhook": _l("Resumed a webhook"),
    "disable_webhook": _l("Stopped a webhook"),
    "remove_webhook": _l("Removed a webhook"),
    "test_webhook": _l("Sent a test to a webhook"),
    "make_token": _l("Made a token"),
    "revoke_token": _l("Revoked a token"),
}
REFUSALS: dict[str, Later] = {
    "user_name": _l("An account name has 1 to 60 letters, digits or . _ @ -"),
    "user_taken": _l("There is an account of that name already, perhaps in another township."),
    "role": _l("Choose a role."),
    "no_official": _l("The roster has no official with that id."),
    "own_account": _l("Nobody changes their own account here, nor another one of their own."),
    "last_admin": _l("That is the last administrator in force. Make another one first."),
}


def register() -> None:
    """Adds them to those of the other pages."""
    words.ACTS.update(ACTS)
    ruling_words.REFUSALS.update(REFUSALS)
