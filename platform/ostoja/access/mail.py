"""Mail to people: text and HTML from one template in the reader's language, sent by a job after the commit.

A template ``templates/mail/<name>.<language>.txt`` begins with ``Subject: …`` and an empty line; a line ``=> words`` becomes
the button that leads to ``link``. Sender, host and links come from the tenant's own record, never from a request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.utils import parseaddr, parsedate_to_datetime
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.base import BaseEmailBackend
from django.core.validators import validate_email
from django.template import Context
from django.template.loader import get_template, select_template
from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.jobs.models import Job
from ostoja.jobs.queue import queue
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotFound, Refused
from ostoja.kernel.ids import uuid7
from ostoja.tenancy.context import current_tenant

from .links import base_url

BUTTON = "=>"
LONGEST_VALUE = 120
A_HOST = re.compile(r"(?<=\w)\.(?=\w)")
IN_HEADERS = re.compile(r"[\x00-\x1f\x7f]")
KEPT_FOR = timedelta(days=30)
KEPT_NAME = re.compile(r"[0-9a-f-]{36}")


def send(tenant, to: str, template: str, context: Mapping, *, language: str = "") -> Job:
    """Queue a letter of the open tenant; it goes out after the present transaction commits.

    ``context`` are texts; ``link`` is where the button leads, an address of this tenant. ``language`` is the reader's, else
    the tenant's. Raises Refused for an address that is none (line breaks included), ValueError for another tenant's letter.
    """
    if tenant.pk != current_tenant().pk:
        raise ValueError("A letter is sent by the tenant that is open, and by no other.")
    _address(to)
    values = {name: str(value) for name, value in context.items()}
    if "link" in values and not values["link"].startswith(base_url(tenant) + "/"):
        raise ValueError("A letter links to its own tenant only.")
    return queue(
        Actor.system(), "access.mail", to=to, template=template, context=values, language=language or tenant.language
    )


@dataclass(frozen=True)
class Letter:
    """A letter as it is sent, or as it was kept."""

    id: str
    sender: str
    to: str
    subject: str
    text: str
    html: str
    at: datetime | None = None
    tenant: str = ""


def render(template: str, context: Mapping, language: str, *, to: str = "", id: str = "") -> Letter:
    """The letter of the open tenant. Values are shown as text, on one line, and what looks like a host is no link."""
    tenant = current_tenant()
    values = {name: (value if name == "link" else _tamed(value)) for name, value in context.items()}
    values |= {"company": _tamed(tenant.name), "host": base_url(tenant)}
    source = select_template([f"mail/{template}.{code}.txt" for code in (language, "en")])
    head, _blank, body = source.template.render(Context(values, autoescape=False)).partition("\n\n")
    blocks = [block.strip() for block in body.strip().split("\n\n") if block.strip()]
    link = values.get("link", "")
    text = "\n\n".join(
        f"{block.removeprefix(BUTTON).strip()}:\n{link}" if block.startswith(BUTTON) else block for block in blocks
    )
    shown = [
        {"button": block.startswith(BUTTON), "text": block.removeprefix(BUTTON).strip(), "lines": block.splitlines()}
        for block in blocks
    ]
    subject = IN_HEADERS.sub(" ", head.removeprefix("Subject:")).strip()
    html = get_template("mail/letter.html").render(
        {
            "blocks": shown,
            "link": link,
            "subject": subject,
            "language": language,
            "company": values["company"],
            "host": values["host"],
        }
    )
    return Letter(
        id=id, sender=_sender(tenant), to=to, subject=subject, text=text + "\n", html=html, tenant=tenant.slug
    )


def deliver(to: str, template: str, context: Mapping, language: str, *, id: str) -> None:
    """Send one letter now. ``id`` makes the Message-ID, so that a letter sent twice is seen to be one."""
    letter = render(template, context, language, to=to, id=id)
    host = parseaddr(letter.sender)[1].rpartition("@")[2] or "localhost"
    message = EmailMultiAlternatives(
        letter.subject,
        letter.text,
        letter.sender,
        [_address(to)],
        headers={"Message-ID": f"<{id}@{host}>", "Auto-Submitted": "auto-generated", "X-Ostoja-Tenant": letter.tenant},
    )
    message.attach_alternative(letter.html, "text/html")
    message.send()


def _sender(tenant) -> str:
    """The installation's address under the tenant's name."""
    name, address = parseaddr(settings.DEFAULT_FROM_EMAIL)
    shown = IN_HEADERS.sub(" ", f"{tenant.name[:60]} ({name})" if name else tenant.name[:60])
    return str(Address(shown, addr_spec=address or "no-reply@localhost"))


def _address(to: str) -> str:
    try:
        validate_email(to)
    except ValidationError as error:
        message = _("“{address}” is no e-mail address.").format(address=str(to)[:80])
        raise Refused(message, fields={"email": [message]}) from error
    return to


def _tamed(value: object) -> str:
    """A value that people typed, as it may stand in a letter: one line, not too long, nothing that mail programs make a link."""
    line = " ".join(IN_HEADERS.sub(" ", str(value)).split())[:LONGEST_VALUE]
    return A_HOST.sub(".\u2060", line)


# --- mail that a development installation keeps -----------------------------------------------------------------------


class Kept(BaseEmailBackend):
    """Keeps every message as a file in ``$OSTOJA_HOME/mail`` instead of sending it."""

    def send_messages(self, messages) -> int:
        """Write the files; returns how many."""
        place = _place()
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        for message in messages:
            name = place / f"{uuid7()}.eml"
            unfinished = name.with_suffix(".part")
            unfinished.write_bytes(message.message().as_bytes())
            unfinished.rename(name)
        return len(messages)


def list_mail(tenant=None, limit: int = 100) -> list[Letter]:
    """The letters that were kept, the newest first; of one tenant, or of all. Empty unless in development."""
    if not _keeps():
        return []
    letters = []
    for path in sorted(_place().glob("*.eml"), reverse=True):
        letter = _read(path)
        if tenant is None or letter.tenant == tenant.slug:
            letters.append(letter)
        if len(letters) >= limit:
            break
    return letters


def read_mail(id: str, tenant=None) -> Letter:
    """One letter that was kept. Raises NotFound, also outside of development."""
    path = _place() / f"{id}.eml"
    if not _keeps() or not KEPT_NAME.fullmatch(str(id)) or not path.is_file():
        raise NotFound(_("There is no such letter."))
    letter = _read(path)
    if tenant is not None and letter.tenant != tenant.slug:
        raise NotFound(_("There is no such letter."))
    return letter


def _keeps() -> bool:
    return settings.DEVELOPMENT and settings.EMAIL_BACKEND == f"{__name__}.Kept"


def _place() -> Path:
    return Path(settings.EMAIL_FILE_PATH)


def _read(path: Path) -> Letter:
    message = message_from_bytes(path.read_bytes(), policy=policy.default)
    plain, rich = message.get_body(("plain",)), message.get_body(("html",))
    return Letter(
        id=path.stem,
        sender=str(message["From"] or ""),
        to=str(message["To"] or ""),
        subject=str(message["Subject"] or ""),
        text=plain.get_content() if plain else "",
        html=rich.get_content() if rich else "",
        at=parsedate_to_datetime(str(message["Date"])).replace(tzinfo=UTC) if message["Date"] else None,
        tenant=str(message["X-Ostoja-Tenant"] or ""),
    )


def sweep() -> int:
    """Delete kept letters that are older than a month; returns how many."""
    if not _keeps():
        return 0
    oldest = (timezone.now() - KEPT_FOR).timestamp()
    old = [path for path in _place().glob("*.eml") if path.stat().st_mtime < oldest]
    for path in old:
        path.unlink(missing_ok=True)
    return len(old)
