"""Tenancy as a Django app: its tables are shared by all tenants."""

from django.apps import AppConfig


class TenancyConfig(AppConfig):
    name = "ostoja.tenancy"
    label = "tenancy"
    lives_in_public = True
