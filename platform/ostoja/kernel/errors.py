"""Every error that reaches a person: a sentence of advice, and a stable code for a machine."""

from __future__ import annotations


class OstojaError(Exception):
    """Base of the errors with advice; ``status`` is the HTTP status that the faces answer with."""

    code = "error"
    status = 400

    def __init__(self, message: object, *, code: str | None = None):
        super().__init__(str(message))
        self.message = str(message)
        if code:
            self.code = code


class NoTenant(OstojaError):
    """A query was asked while no tenant was open. No tenant, no query."""

    code = "no_tenant"
    status = 500


class NoActor(OstojaError):
    """A change was asked without saying who makes it. No actor, no change."""

    code = "no_actor"
    status = 500


class NotFound(OstojaError):
    """The record does not exist, or may not be seen: both look the same."""

    code = "not_found"
    status = 404


class NotAllowed(OstojaError):
    """The actor may see the record but may not do this; the message is the reason."""

    code = "not_allowed"
    status = 403


class SignInNeeded(OstojaError):
    """Nobody is signed in."""

    code = "sign_in_needed"
    status = 401


class Stale(OstojaError):
    """Somebody changed the record since it was read (optimistic lock)."""

    code = "stale"
    status = 412


class Refused(OstojaError):
    """The form or the database refused the change.

    ``fields`` maps a field name (``""`` for the whole record) to its sentences; ``code`` is ``invalid`` or the name of
    the constraint that refused.
    """

    code = "invalid"
    status = 422

    def __init__(self, message: object, *, fields: dict[str, list[str]] | None = None, code: str | None = None):
        super().__init__(message, code=code)
        self.fields = fields or {}
