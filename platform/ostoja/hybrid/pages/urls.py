"""The addresses of hybrid's web pages."""

from django.urls import path, re_path

from . import circle, conflicts, links, policy, purges, records

KEY = r"(?P<pk>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"

urlpatterns = [
    path("conflicts", conflicts.conflicts),
    re_path(rf"^conflicts/{KEY}$", conflicts.conflict),
    re_path(rf"^conflicts/{KEY}/decide$", conflicts.decide),
    re_path(rf"^conflicts/{KEY}/rename$", conflicts.rename),
    path("settings/hybrid/links", links.links),
    path("settings/hybrid/links/invite", links.invite),
    path("settings/hybrid/links/invited", links.invited),
    path("settings/hybrid/links/<uuid:pk>/state", links.state),
    path("settings/hybrid/links/<uuid:pk>/verify", links.verify),
    path("settings/hybrid/policy", policy.policy),
    path("settings/hybrid/policy/decide", policy.decide),
    path("settings/hybrid/policy/<uuid:pk>/approve", policy.approve),
    path("settings/hybrid/policy/<uuid:pk>/withdraw", policy.withdraw),
    path("settings/hybrid/purges", purges.purges),
    path("settings/hybrid/purges/verify", purges.verify),
    re_path(rf"^hybrid/(?P<slug>[a-z][a-z0-9-]*)/{KEY}/mark$", records.mark),
    re_path(rf"^hybrid/(?P<slug>[a-z][a-z0-9-]*)/{KEY}/open$", records.open_again),
    re_path(rf"^hybrid/(?P<slug>[a-z][a-z0-9-]*)/{KEY}/let-in$", circle.let_in),
    re_path(rf"^hybrid/(?P<slug>[a-z][a-z0-9-]*)/{KEY}/shut-out$", circle.shut_out),
]
