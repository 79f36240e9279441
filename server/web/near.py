"""Public pages stay in the township's own network until its impact assessment is signed."""

from __future__ import annotations

from flask import abort, g, request
from sqlalchemy.orm import Session

from server.services.public.publication import is_near, publication


def admit(session: Session, township_id: int) -> None:
    """403 for whoever asks from beyond the township's network, unless that was decided.

    Somebody who is signed in to this township sees it from anywhere.
    """
    if is_near(request.remote_addr or ""):
        return
    user = g.get("quxiang_user")
    if user is not None and user.township_id == township_id:
        return
    if not publication(session, township_id).beyond:
        abort(403)
