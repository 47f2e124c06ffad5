"""Django's settings, read from the one declaration of the installation (``ostoja.toml`` or ``OSTOJA_…`` variables)."""

from __future__ import annotations

import os
from pathlib import Path

from ostoja.kernel import outbound

from .databases import databases
from .declaration import load
from .places import reachable

DECLARATION = load()
INSTALLATION = DECLARATION.installation

SECRET_KEY = DECLARATION.secret_key
DEBUG = False
DEVELOPMENT = INSTALLATION.development
BASE_DOMAIN = INSTALLATION.base_domain
ALLOWED_HOSTS = ["*"]  # the tenancy middleware answers 404 to every host that it does not know
USE_HTTPS = INSTALLATION.https
PUBLIC_PORT = INSTALLATION.port or (0 if USE_HTTPS else int(os.environ.get("OSTOJA_UP_PORT") or 0))

SHARED_APPS = ["ostoja.kernel", "django.contrib.contenttypes", "ostoja.tenancy", "ostoja.onboarding"]
TENANT_APPS = [
    "ostoja.jobs",
    "ostoja.journal",
    "ostoja.access",
    "ostoja.party",
    "ostoja.catalog",
    "ostoja.crm.sales",
    "ostoja.planning",
    "ostoja.documents",
    "ostoja.exchange",
    "ostoja.hybrid",
    "ostoja.api",
    "ostoja.web",
    *DECLARATION.extensions,
]
INSTALLED_APPS = [*SHARED_APPS[1:], *TENANT_APPS, "django.contrib.staticfiles", "csp", "ostoja.kernel"]

DATABASES = databases(DECLARATION)
DATABASE_ROUTERS = ["ostoja.tenancy.router.Router"]
TENANT_MODEL = "tenancy.Tenant"
TENANT_DOMAIN_MODEL = "tenancy.Domain"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "access.User"

MIDDLEWARE = [
    "ostoja.web.middleware.HealthMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "ostoja.tenancy.middleware.TenantMiddleware",
    "ostoja.web.middleware.ReplyHeadersMiddleware",
    "csp.middleware.CSPMiddleware",
    "ostoja.web.middleware.FramesMiddleware",
    "ostoja.access.middleware.ActorMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
ROOT_URLCONF = "ostoja.web.urls"
PUBLIC_URLCONF = "ostoja.onboarding.urls"
SITES_PATH = "/sync/v1/"  # where other sites of a tenant reach this one, also while it catches up
WSGI_APPLICATION = "ostoja.web.wsgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {"context_processors": ["ostoja.web.context.shell"]},
    }
]

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_MAX_AGE = 7 * 24 * 60 * 60  # seconds; the addresses change with the content
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {
            "location": str(DECLARATION.files_root),
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        },
    },
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("pl", "Polski")]
LOCALE_PATHS = [Path(__file__).parent.parent / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE = "UTC"
FORMAT_MODULE_PATH = None

PASSWORD_HASHERS = ["ostoja.access.passwords.Argon2"]
SESSION_COOKIE_NAME = "__Host-ostoja" if USE_HTTPS else "ostoja"
CSRF_COOKIE_NAME = "__Host-ostoja-csrf" if USE_HTTPS else "ostoja-csrf"
CSRF_COOKIE_SECURE = SESSION_COOKIE_SECURE = USE_HTTPS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "ostoja.web.errors.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if USE_HTTPS else None

_SELF = ["'self'"]
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": _SELF,
        "style-src": _SELF,
        "img-src": ["'self'", "data:"],
        "font-src": _SELF,
        "connect-src": _SELF,
        "form-action": _SELF,
        "frame-ancestors": ["'none'"],
        "base-uri": ["'none'"],
        "manifest-src": _SELF,
    }
}

DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5000
MAX_UPLOAD_BYTES = 50 * 1024 * 1024

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": DECLARATION.cache_url,
        "KEY_FUNCTION": "ostoja.tenancy.cache.make_key",
    }
}

EMAIL_BACKEND = DECLARATION.mail.backend
EMAIL_FILE_PATH = str(DECLARATION.home / "mail")
EMAIL_HOST, EMAIL_PORT = DECLARATION.mail.host, DECLARATION.mail.port
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = DECLARATION.mail.user, DECLARATION.mail.password
EMAIL_USE_TLS, EMAIL_USE_SSL = DECLARATION.mail.tls, DECLARATION.mail.ssl
DEFAULT_FROM_EMAIL = DECLARATION.mail.sender

CELERY_BROKER_URL = DECLARATION.celery_url
SILENCED_SYSTEM_CHECKS = ["models.W042"]

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "ostoja.kernel.lines.Line", "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {"django.request": {"level": "ERROR"}, "granian": {"level": "WARNING"}},
}

OUTBOUND = reachable(DECLARATION, DATABASES)
outbound.close(**OUTBOUND)
