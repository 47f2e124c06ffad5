"""The addresses at which other sites of a tenant reach this one."""

from django.urls import path

from . import views

urlpatterns = [
    path("enrol", views.enrol),
    path("<uuid:link>/exchange", views.exchange),
    path("<uuid:link>/verify", views.verify),
    path("<uuid:link>/carry", views.carry),
    path("<uuid:link>/keys", views.new_keys),
    path("<uuid:link>/close", views.close),
]
