"""The addresses at an installation's own host: sign-up, then what the web serves there beside it."""

from django.urls import include, path

from ostoja.web.urls_public import handler400, handler403, handler404, handler500  # noqa: F401 - Django looks for them here

from . import views

urlpatterns = [
    path("", views.start),
    path("address", views.address),
    path("building/<str:watch>", views.building),
    path("welcome/<str:token>", views.not_yet),
    path("", include("ostoja.web.urls_public")),
]
