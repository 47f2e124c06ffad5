"""The WSGI application that granian serves. Its process connects to nothing but the services and what is named for it."""

import os

from django.core.wsgi import get_wsgi_application

from ostoja.kernel import memory, outbound

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ostoja.settings")
outbound.begin(outbound.NAMED)
application = get_wsgi_application()
memory.keep_what_is_loaded()
