"""How imports, exports and saved mappings look."""

from django.db.models import Q

from ostoja.kernel.registry import surface
from ostoja.kernel.surfaces import ACTOR, Surface

from .models import ExportRun, ImportRun, SavedMapping


@surface(ImportRun)
class ImportRunSurface(Surface):
    slug = "imports"
    icon = "upload"
    title = "name"
    list = ["name", "object", "state", "rows", "created", "updated", "failed", "owner", "created_at"]
    form = ["name", "mode", "whole", "options", "mapping"]
    search = ["name", "file_name"]
    filters = ["object", "state", "owner"]
    scopes = {"own": Q(owner=ACTOR)}
    badges = {
        "done": "green",
        "failed": "red",
        "running": "blue",
        "checking": "blue",
        "undoing": "blue",
        "undone": "gray",
    }


@surface(ExportRun)
class ExportRunSurface(Surface):
    slug = "exports"
    icon = "download"
    title = "name"
    list = ["name", "object", "format", "state", "rows", "owner", "created_at", "expires_at"]
    search = ["name"]
    filters = ["object", "state", "owner"]
    scopes = {"own": Q(owner=ACTOR)}
    badges = {"done": "green", "failed": "red", "running": "blue", "gone": "gray"}


@surface(SavedMapping)
class SavedMappingSurface(Surface):
    slug = "saved-mappings"
    icon = "arrow-right-left"
    title = "name"
    list = ["name", "object", "owner", "updated_at"]
    form = ["object", "name", "mapping", "columns", "options"]
    search = ["name"]
    filters = ["object"]
    natural_key = ["object", "name"]
    scopes = {"own": Q(owner=ACTOR)}
