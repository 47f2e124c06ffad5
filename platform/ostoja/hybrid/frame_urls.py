"""The addresses of pages that the premises serve into frames."""

from django.urls import path

from . import frames

urlpatterns = [
    path("enter", frames.enter),
    path("entered", frames.entered),
    path("search", frames.search),
    path("<slug:slug>", frames.rows),
    path("<slug:slug>/new", frames.new),
    path("<slug:slug>/<uuid:pk>", frames.record),
    path("<slug:slug>/<uuid:pk>/edit", frames.edit),
    path("<slug:slug>/<uuid:pk>/files", frames.upload),
    path("<slug:slug>/<uuid:pk>/content", frames.content),
    path("<slug:slug>/<uuid:pk>/part/<str:name>", frames.panel),
]
