"""What the tests of access share: requests without pages, and the letters that jobs send."""

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import RequestFactory


@pytest.fixture(autouse=True)
def own_mail(tmp_path, monkeypatch):
    """Letters are kept in a place of the test; messages to workers are not sent."""
    monkeypatch.setattr(settings, "EMAIL_BACKEND", "ostoja.access.mail.Kept")
    monkeypatch.setattr(settings, "EMAIL_FILE_PATH", str(tmp_path / "mail"))
    monkeypatch.setattr("ostoja.jobs.queue.send", lambda schema, job: None)


@pytest.fixture
def work(tenant):
    """Runs every waiting job; answers the letters that are there then, the newest first."""
    from ostoja.access import mail
    from ostoja.jobs import runner
    from ostoja.jobs.models import Job

    def run():
        while job := Job.objects.filter(state="queued").order_by("created_at").first():
            assert runner.execute(tenant, job.pk)
            job.refresh_from_db()
            assert job.state == "done", job.error
        return mail.list_mail(tenant)

    return run


@pytest.fixture
def browse(tenant):
    """``browse(view)`` -> (request, response): a request of a browser through the middleware; it keeps its cookie."""
    from ostoja.access.middleware import ActorMiddleware

    cookies = {}

    def go(view=lambda request: None, address="203.0.113.9", **extra):
        request = RequestFactory().get("/", REMOTE_ADDR=address, **extra)
        request.COOKIES.update(cookies)
        request.META["HTTP_COOKIE"] = "; ".join(f"{k}={v}" for k, v in cookies.items())
        response = ActorMiddleware(lambda r: view(r) or HttpResponse())(request)
        morsel = response.cookies.get(settings.SESSION_COOKIE_NAME)
        if morsel is not None:
            cookies.pop(settings.SESSION_COOKIE_NAME, None)
            if morsel.value:
                cookies[settings.SESSION_COOKIE_NAME] = morsel.value
        return request, response

    go.cookies = cookies
    return go
