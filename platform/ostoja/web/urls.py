"""The addresses of a tenant."""

from django.urls import include, path, re_path

from . import errors
from .views import account, boards, development, lists, palette, records, settings, work

SLUG = r"(?P<slug>[a-z][a-z0-9-]*)"
KEY = r"(?P<pk>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
VERB = r"(?P<verb>[a-z][a-z0-9_]*)"

handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler500 = errors.fault

urlpatterns = [
    path("api/v1/", include("ostoja.api.urls")),
    path("", account.home),
    path("sign-in", account.sign_in),
    path("sign-out", account.sign_out),
    path("forgotten", account.forgotten),
    path("password/<str:token>", account.new_password),
    path("confirm/<str:token>", account.confirm),
    path("welcome/<str:token>", account.welcome),
    path("language", account.language),
    path("palette", palette.find),
    path("jobs/mine", work.mine),
    re_path(rf"^jobs/{KEY}/stop$", work.stop),
    re_path(rf"^jobs/{KEY}/dismiss$", work.dismiss),
    re_path(rf"^views/{KEY}/forget$", lists.forget_view),
    path("settings", settings.start),
    path("settings/company", settings.company),
    path("settings/roles", settings.roles),
    path("settings/roles/new", settings.new_role),
    re_path(rf"^settings/roles/{KEY}$", settings.roles),
    re_path(rf"^settings/roles/{KEY}/delete$", settings.delete_role),
    path("settings/profile", settings.profile),
    path("settings/devices", settings.devices),
    path("settings/devices/end", settings.end_others),
    re_path(rf"^settings/devices/{KEY}/end$", settings.end_device),
    path("settings/tokens", settings.tokens),
    path("settings/tokens/new", settings.new_token),
    re_path(rf"^settings/tokens/{KEY}/revoke$", settings.revoke_token),
    path("development/mail", development.mail),
    path("development/mail/<str:key>", development.mail),
    re_path(rf"^{SLUG}$", lists.show),
    re_path(rf"^{SLUG}/totals$", lists.totals),
    re_path(rf"^{SLUG}/filters$", lists.filters),
    re_path(rf"^{SLUG}/options$", lists.options),
    re_path(rf"^{SLUG}/views/new$", lists.new_view),
    re_path(rf"^{SLUG}/assign$", lists.assign),
    re_path(rf"^{SLUG}/delete$", lists.delete_all),
    re_path(rf"^{SLUG}/do/{VERB}$", lists.do_on_all),
    re_path(rf"^{SLUG}/board$", boards.board),
    re_path(rf"^{SLUG}/calendar$", boards.calendar),
    re_path(rf"^{SLUG}/new$", records.new),
    re_path(rf"^{SLUG}/{KEY}$", records.card),
    re_path(rf"^{SLUG}/{KEY}/edit$", records.edit),
    re_path(rf"^{SLUG}/{KEY}/delete$", records.delete),
    re_path(rf"^{SLUG}/{KEY}/move$", boards.move),
    re_path(rf"^{SLUG}/{KEY}/do/{VERB}$", records.do),
]
