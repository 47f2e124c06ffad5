"""The addresses of a tenant."""

from django.urls import include, path, re_path

from . import errors
from .views import account, boards, development, exchange, files, lists, palette, people, records, settings, start, work

SLUG = r"(?P<slug>[a-z][a-z0-9-]*)"
KEY = r"(?P<pk>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"
VERB = r"(?P<verb>[a-z][a-z0-9_]*)"

handler400 = errors.bad_request
handler403 = errors.forbidden
handler404 = errors.not_found
handler500 = errors.fault

urlpatterns = [
    path("api/v1/", include("ostoja.api.urls")),
    path("sync/v1/", include("ostoja.hybrid.urls")),
    path("", include("ostoja.hybrid.pages.urls")),
    path("frame/", include("ostoja.hybrid.frame_urls")),
    path("", account.home),
    path("start", start.start),
    path("start/samples", start.sample_data),
    path("start/away", start.put_away),
    path("sign-in", account.sign_in),
    path("sign-out", account.sign_out),
    path("forgotten", account.forgotten),
    path("password/<str:token>", account.new_password),
    path("confirm/<str:token>", account.confirm),
    path("confirm-again", account.confirm_again),
    path("welcome/<str:token>", account.welcome),
    path("invitation/<str:token>", people.join),
    path("language", account.language),
    path("palette", palette.find),
    path("jobs/mine", work.mine),
    re_path(rf"^jobs/{KEY}/stop$", work.stop),
    re_path(rf"^jobs/{KEY}/dismiss$", work.dismiss),
    re_path(rf"^views/{KEY}/forget$", lists.forget_view),
    path("settings", settings.start),
    path("settings/company", settings.company),
    path("settings/people", people.directory),
    path("settings/people/invite", people.invite),
    re_path(rf"^settings/people/{KEY}/roles$", people.roles),
    re_path(rf"^settings/people/{KEY}/owner$", people.owner),
    re_path(rf"^settings/people/{KEY}/co-owner$", people.co_owner),
    re_path(rf"^settings/people/invitations/{KEY}/resend$", people.resend),
    re_path(rf"^settings/people/invitations/{KEY}/withdraw$", people.withdraw),
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
    re_path(rf"^imports/{KEY}$", exchange.run),
    re_path(rf"^imports/{KEY}/columns$", exchange.columns),
    re_path(rf"^imports/{KEY}/values$", exchange.values),
    re_path(rf"^imports/{KEY}/progress$", exchange.progress),
    re_path(rf"^imports/{KEY}/go$", exchange.go),
    re_path(rf"^imports/{KEY}/stop$", exchange.stop),
    re_path(rf"^imports/{KEY}/undo$", exchange.undo),
    re_path(rf"^imports/{KEY}/save$", exchange.save_mapping),
    re_path(rf"^imports/{KEY}/errors\.csv$", exchange.errors_file),
    re_path(rf"^exports/{KEY}$", exchange.exported),
    re_path(rf"^{SLUG}$", lists.show),
    re_path(rf"^{SLUG}/totals$", lists.totals),
    re_path(rf"^{SLUG}/filters$", lists.filters),
    re_path(rf"^{SLUG}/options$", lists.options),
    re_path(rf"^{SLUG}/views/new$", lists.new_view),
    re_path(rf"^{SLUG}/assign$", lists.assign),
    re_path(rf"^{SLUG}/delete$", lists.delete_all),
    re_path(rf"^{SLUG}/do/{VERB}$", lists.do_on_all),
    re_path(rf"^{SLUG}/import$", exchange.upload),
    re_path(rf"^{SLUG}/import/columns\.csv$", exchange.sample),
    re_path(rf"^{SLUG}/export\.(?P<format>csv|xlsx)$", exchange.export),
    re_path(rf"^{SLUG}/write$", records.write),
    re_path(rf"^{SLUG}/board$", boards.board),
    re_path(rf"^{SLUG}/calendar$", boards.calendar),
    re_path(rf"^{SLUG}/new$", records.new),
    re_path(rf"^{SLUG}/{KEY}$", records.card),
    re_path(rf"^{SLUG}/{KEY}/edit$", records.edit),
    re_path(rf"^{SLUG}/{KEY}/delete$", records.delete),
    re_path(rf"^{SLUG}/{KEY}/move$", boards.move),
    re_path(rf"^{SLUG}/{KEY}/files$", files.upload),
    re_path(rf"^{SLUG}/{KEY}/content$", files.content),
    re_path(rf"^{SLUG}/{KEY}/do/{VERB}$", records.do),
]
