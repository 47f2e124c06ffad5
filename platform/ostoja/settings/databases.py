"""The two database connections: ``default`` logs in as the application, ``owner`` as the owner of all schemas."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlsplit


def connection(url: str, *, keeps_role: bool = False, max_age: int = 600) -> dict:
    """Django's settings of one connection from a ``postgresql://`` URL (a socket directory as ``?host=``)."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    host = options.pop("host", "") or unquote(parts.hostname or "")
    port = options.pop("port", "") or parts.port or ""
    return {
        "ENGINE": "ostoja.tenancy.backend",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(port),
        "OPTIONS": options,
        "CONN_MAX_AGE": max_age,
        "CONN_HEALTH_CHECKS": True,
        "KEEPS_ROLE": keeps_role,
        "DISABLE_SERVER_SIDE_CURSORS": False,
    }


def databases(declared) -> dict:
    """``DATABASES`` for Django."""
    return {
        "default": connection(declared.app_dsn),
        "owner": connection(declared.owner_dsn, keeps_role=True, max_age=0),
    }
