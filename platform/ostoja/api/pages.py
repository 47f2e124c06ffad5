"""The page that explains the API to people, made on the server from the same document; and the answer where nothing is."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotFound

from .door import root
from .openapi import document
from .problems import TITLES

METHODS = ("get", "post", "patch", "delete")


def nothing(request: HttpRequest) -> HttpResponse:
    """No address of ours."""
    raise NotFound(_("There is nothing at this address. GET /api/v1/openapi.json lists all addresses."))


def docs(request: HttpRequest) -> HttpResponse:
    """The API for people: conventions first, then object by object what the reader may do."""
    said = document(request.actor or Actor.system(), root(request))
    tags = sorted(said["tags"], key=lambda tag: _rank(tag["name"]))
    objects = {tag["name"]: {"slug": tag["name"], "about": tag["description"], "operations": []} for tag in tags}
    for path, item in said["paths"].items():
        for method in METHODS:
            operation = item.get(method)
            if operation is not None and operation["tags"][0] in objects:
                objects[operation["tags"][0]]["operations"].append(
                    {"method": method.upper(), "path": path, "summary": operation["summary"]}
                )
                if operation["operationId"].startswith("read_"):
                    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
                    objects[operation["tags"][0]]["fields"] = _fields(said, schema.rpartition("/")[2])
    context = {
        "url": root(request),
        "objects": list(objects.values()),
        "problems": [(status, title) for status, title in TITLES.items() if status != 500],
        "narrowed": request.actor is not None,
    }
    return render(request, "api/docs.html", context)


def _rank(slug: str) -> tuple[int, bool]:
    """The objects of daily work first, then their parts, then the settings."""
    entry = registry.by_slug(slug)
    order = {"": 1, "settings": 2}
    return order.get(entry.surface.group, 0), entry.parent is None


def _fields(said: dict, name: str) -> list[dict]:
    schemas = said["components"]["schemas"]
    create = schemas[f"{name}Create"]
    return [
        {
            "name": field,
            "title": schema.get("title", ""),
            "kind": _kind(schema),
            "choices": [c for c in schema.get("enum", ()) if c],
            "written": field in create["properties"],
            "required": field in create.get("required", ()),
        }
        for field, schema in schemas[name]["properties"].items()
    ]


def _kind(schema: dict) -> str:
    if "anyOf" in schema or "$ref" in schema:
        return _("reference")
    if "pattern" in schema:
        return _("amount, as text")
    kind = schema.get("type", _("anything"))
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return _("list")
    return schema.get("format") or kind
