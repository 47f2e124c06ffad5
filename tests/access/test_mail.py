"""Letters: in the reader's language, from the tenant's own record, sent after the commit, and with nothing smuggled in."""

import os
import time
from email import message_from_bytes
from pathlib import Path

import pytest
from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction

from ostoja.access import links, mail, sessions
from ostoja.access.jobs import sweep
from ostoja.access.models import Session
from ostoja.jobs.models import Job
from ostoja.kernel.errors import NotFound, Refused
from ostoja.tenancy.context import tenant_context

TEMPLATES = sorted(Path(mail.__file__).parent.glob("templates/mail/*.txt"))
CONTEXT = {"name": "Ala", "inviter": "Olga", "days": "7", "email": "new@example.com"}


def context(**more):
    """What all letters together ask for."""
    return CONTEXT | {"link": links.url_of("reset", "TOKEN")} | more


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda p: p.stem)
def test_every_letter_in_every_language(tenant, path):
    name, language = path.stem.split(".")
    letter = mail.render(name, context(), language)
    assert letter.subject and "{" not in letter.subject + letter.text and "\n" not in letter.subject
    assert path.read_text().startswith("Subject: ")
    if "=>" in path.read_text():
        assert f'href="{context()["link"]}"' in letter.html and context()["link"] in letter.text
    assert "=>" not in letter.text + letter.html


def test_every_letter_is_there_in_both_languages():
    names = {tuple(p.stem.split(".")) for p in TEMPLATES}
    assert {(name, code) for name, _language in names for code in dict(settings.LANGUAGES)} == names


def test_a_letter_is_sent_after_the_commit_by_a_job_and_forgets_its_link(tenant, work):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        mail.send(tenant, "ala@example.com", "reset", context())
        raise ZeroDivisionError
    assert work() == []
    mail.send(tenant, "ala@example.com", "reset", context(), language="pl")
    (letter,) = work()
    assert (letter.to, letter.subject, letter.tenant) == ("ala@example.com", "Ustaw nowe hasło", tenant.slug)
    assert letter.at and letter.text.count("TOKEN") == 1
    assert "TOKEN" not in str(Job.objects.get().args)
    raw = message_from_bytes((Path(settings.EMAIL_FILE_PATH) / f"{letter.id}.eml").read_bytes())
    assert raw["Message-ID"].startswith(f"<{Job.objects.get().pk}@") and raw["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize(
    "to",
    [
        "",
        "nobody",
        "a@example.com\nBcc: b@example.com",
        "a@example.com, b@example.com",
        "a@example.com\r\nX: y",
        "A <a@b.pl>",
    ],
)
def test_A11_an_address_with_anything_more_is_refused(tenant, to):
    with pytest.raises(Refused):
        mail.send(tenant, to, "reset", context())
    assert not Job.objects.exists()


def test_A11_sender_host_and_links_are_the_tenants(tenant, other_tenant, work):
    mail.send(tenant, "ala@example.com", "confirm", context())
    (letter,) = work()
    assert tenant.name in letter.sender and "no-reply@" in letter.sender
    assert f"http://{tenant.slug}.localhost/" in letter.text and other_tenant.slug not in letter.text + letter.html
    with pytest.raises(ValueError, match="own tenant"):
        mail.send(tenant, "ala@example.com", "confirm", context(link="https://evil.example/reset"))
    with pytest.raises(ValueError, match="open"):
        mail.send(other_tenant, "ala@example.com", "confirm", context())
    with tenant_context(other_tenant):
        assert links.base_url() == f"http://{other_tenant.slug}.localhost"


def test_links_name_the_port_and_the_protocol(tenant, monkeypatch):
    monkeypatch.setattr(settings, "PUBLIC_PORT", 8000)
    assert links.base_url() == f"http://{tenant.slug}.localhost:8000"
    monkeypatch.setattr(settings, "USE_HTTPS", True)
    monkeypatch.setattr(settings, "PUBLIC_PORT", 443)
    assert links.base_url() == f"https://{tenant.slug}.localhost"


@pytest.mark.parametrize(
    "name",
    [
        "<b>Ala</b>",
        "Ala\nSubject: x",
        "Ala\n\n=> Click here",
        "visit http://evil.example/now",
        "x" * 5000,
        "{{ link }}",
    ],
)
def test_A11_what_people_typed_stays_text(tenant, name):
    for template in ("invite", "reset"):
        letter = mail.render(template, context(name=name, inviter=name), "en")
        assert "<b>" not in letter.html and letter.html.count("<a ") == 1
        assert "\n" not in letter.subject and len(letter.subject) < 300
        assert "evil.example" not in letter.text + letter.html + letter.subject
        assert letter.text.count(context()["link"]) == 1


def test_a_company_name_with_quotes_and_line_breaks_is_no_header(tenant):
    tenant.name = 'Zażółć "Gęślą", Jaźń\r\nBcc: x@example.com'
    sender = mail.render("reset", context(), "en").sender
    assert "\n" not in sender and "\r" not in sender
    raw = EmailMessage("s", "t", sender, ["a@example.com"]).message()
    assert raw["Bcc"] is None


def test_kept_mail_is_for_development_only_and_each_tenants_own(tenant, other_tenant, work, monkeypatch):
    mail.send(tenant, "ala@example.com", "confirm", context())
    (letter,) = work()
    assert mail.read_mail(letter.id).subject == letter.subject
    assert mail.list_mail(other_tenant) == [] and len(mail.list_mail()) == 1
    with pytest.raises(NotFound):
        mail.read_mail(letter.id, other_tenant)
    for wrong in ("", "..", "../../etc/passwd", letter.id[:-1], "x" * 36):
        with pytest.raises(NotFound):
            mail.read_mail(wrong)
    monkeypatch.setattr(settings, "DEVELOPMENT", False)
    assert mail.list_mail() == []
    with pytest.raises(NotFound):
        mail.read_mail(letter.id)


def test_old_letters_and_ended_sessions_are_swept(tenant, owner, work, browse):
    mail.send(tenant, "ala@example.com", "confirm", context())
    (letter,) = work()
    browse(lambda r: sessions.start(r, owner) and None)
    assert sweep() == 0
    path = Path(settings.EMAIL_FILE_PATH) / f"{letter.id}.eml"
    old = time.time() - 40 * 86400
    os.utime(path, (old, old))
    Session.objects.update(expires_at=letter.at)
    assert sweep() == 2
    assert not path.exists() and not Session.objects.exists()
