"""The catalogue as a Django app."""

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    name = "ostoja.catalog"
    label = "catalog"
