"""The web pages as a Django app: templates, tags and static files."""

from django.apps import AppConfig


class WebConfig(AppConfig):
    name = "ostoja.web"
    label = "web"
    verbose_name = "Web"
