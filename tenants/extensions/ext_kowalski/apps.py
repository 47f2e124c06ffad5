"""The extension as a Django app."""

from django.apps import AppConfig


class KowalskiConfig(AppConfig):
    name = "ext_kowalski"
    label = "ext_kowalski"
