"""Sales as a Django app."""

from django.apps import AppConfig


class SalesConfig(AppConfig):
    name = "ostoja.crm.sales"
    label = "sales"
