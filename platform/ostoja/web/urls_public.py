"""What the web serves at the installation's own host, beside sign-up."""

from django.urls import path

from . import errors
from .views import account, development

handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler500 = errors.fault

urlpatterns = [
    path("language", account.language),
    path("development/mail", development.mail),
    path("development/mail/<str:key>", development.mail),
]
