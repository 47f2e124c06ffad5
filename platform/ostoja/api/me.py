"""Who is asking: the person or token, the tenant, and what may be done with which objects."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from ostoja.access.policy import editing_verbs, scope_of
from ostoja.kernel import registry
from ostoja.tenancy.context import current_tenant

from .door import query_of, reply, root
from .values import dumps


def read(request: HttpRequest) -> HttpResponse:
    """The actor, its tenant, and verb by verb the scope of its rights."""
    query_of(request, known=())
    actor, tenant, user = request.actor, current_tenant(), request.actor.user
    objects = {}
    for entry in registry.entries():
        rights = {verb: scope for verb in editing_verbs(entry) if (scope := scope_of(actor, entry, verb))}
        if rights:
            objects[entry.slug] = {
                "object": entry.label,
                "title": str(entry.model._meta.verbose_name_plural),
                "url": f"{root(request)}/{entry.slug}/",
                "rights": rights,
            }
    body = {
        "kind": actor.kind,
        "id": actor.id,
        "label": actor.label,
        "user": None if user is None else {"id": user.pk, "name": user.name, "email": user.email},
        "department": actor.department_id,
        "owner": actor.superuser,
        "language": actor.language,
        "data_classes": sorted(actor.classes),
        "token_scopes": None if actor.limits is None else list(actor.limits),
        "tenant": {
            "name": tenant.name,
            "address": tenant.slug,
            "language": tenant.language,
            "currency": tenant.currency,
            "timezone": tenant.timezone,
        },
        "objects": objects,
    }
    return reply(dumps(body))
