"""Pages that exist only in a development installation: the mail that would have been sent."""

from __future__ import annotations

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from ostoja.access.mail import list_mail, read_mail
from ostoja.kernel.errors import OstojaError


@require_GET
def mail(request: HttpRequest, key: str = "") -> HttpResponse:
    """The letters of this tenant, or of all when asked at the installation's own host; the newest first."""
    if not settings.DEVELOPMENT:
        raise Http404
    letters = list_mail(request.tenant)
    if not key and letters:
        key = letters[0].id
    try:
        letter = read_mail(key, request.tenant) if key else None
    except OstojaError as error:
        raise Http404 from error
    shown = [
        {
            "to": one.to,
            "subject": one.subject,
            "at": one.at,
            "url": f"/development/mail/{one.id}",
            "current": one.id == key,
        }
        for one in letters
    ]
    return render(request, "ostoja/development/mail.html", {"letters": shown, "letter": letter, "shell": {}})
