"""The addresses of hybrid's web pages."""

from django.urls import path, re_path

from . import policy, purges, records

KEY = r"(?P<pk>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"

urlpatterns = [
    path("settings/hybrid/policy", policy.policy),
    path("settings/hybrid/policy/decide", policy.decide),
    path("settings/hybrid/policy/<uuid:pk>/approve", policy.approve),
    path("settings/hybrid/policy/<uuid:pk>/withdraw", policy.withdraw),
    path("settings/hybrid/purges", purges.purges),
    path("settings/hybrid/purges/verify", purges.verify),
    re_path(rf"^hybrid/(?P<slug>[a-z][a-z0-9-]*)/{KEY}/mark$", records.mark),
    re_path(rf"^hybrid/(?P<slug>[a-z][a-z0-9-]*)/{KEY}/open$", records.open_again),
]
