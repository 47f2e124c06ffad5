"""A merge says that two parties are one: what points to the one points to the other from then on, and can be brought back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.db import IntegrityError, models, transaction
from django.utils.translation import gettext as _

from ostoja.access.policy import require
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import Refused

if TYPE_CHECKING:
    from .models import Party


def check(actor: Actor, party: Party) -> None:
    """Raise Refused unless ``party`` may be merged into the one it names, NotAllowed unless the actor may do that to both."""
    other = party.merged_into
    if other is None or other.pk == party.pk or other.merged_into_id is not None:
        _refuse(_("Choose another one, which was not merged itself."))
    if other.kind != party.kind:
        _refuse(_("A person and an organisation are not the same."))
    require(actor, other, "merge")


def separate(party: Party) -> None:
    """Forget whom ``party`` was merged into. Raises Refused when it was not merged."""
    if party.merged_into_id is None:
        raise Refused(_("This one was not merged."), code="not_merged")
    party.was_merged_into = party.merged_into_id
    party.merged_into = None


def _refuse(message: str) -> None:
    raise Refused(message, fields={"merged_into": [message]})


def references(party_model: type[models.Model]) -> Iterator[tuple[type[models.Model], models.ForeignKey]]:
    """Every foreign key of a business object to a party, but for the one that tells of the merge."""
    for model in registry.records():
        for field in model._meta.concrete_fields:
            if (
                isinstance(field, models.ForeignKey)
                and field.related_model is party_model
                and field.name != "merged_into"
            ):
                yield model, field


def move(party: Party) -> None:
    """Point everything that points to ``party`` to the one it was merged into.

    What the other has already (the same e-mail address, the same account) stays where it is, and so nothing is lost.
    """
    from .models import Moved

    for model, field in references(type(party)):
        rows = model._default_manager.filter(**{field.name: party})
        moved = _point(rows, field.name, party.merged_into_id)
        Moved.objects.bulk_create(
            Moved(party=party, model=model._meta.label_lower, field=field.name, record=key) for key in moved
        )


def move_back(party: Party) -> None:
    """Bring back what a merge took from ``party``, as far as it is still with the other or with whom that was merged into."""
    from .models import Moved

    moved = Moved.objects.filter(party=party)
    holders = list(_onwards(type(party), party.was_merged_into))
    for model, field in references(type(party)):
        keys = moved.filter(model=model._meta.label_lower, field=field.name).values_list("record", flat=True)
        rows = model._default_manager.filter(pk__in=list(keys), **{f"{field.name}__in": holders})
        _point(rows, field.name, party.pk)
    moved.delete()


def _onwards(party_model: type[models.Model], key: object) -> Iterator[object]:
    """The key of a party, and those of the parties that it was merged into, one after the other."""
    while key is not None:
        yield key
        key = party_model._default_manager.filter(pk=key).values_list("merged_into", flat=True).first()


def _point(rows: models.QuerySet, field: str, to: object) -> list:
    """Set the field of these rows; one by one where the database refuses some. Answers the keys of those that were set."""
    keys = list(rows.values_list("pk", flat=True))
    model = rows.model
    try:
        with transaction.atomic():
            model._default_manager.filter(pk__in=keys).update(**{field: to})
        return keys
    except IntegrityError:
        done = []
    for key in keys:
        try:
            with transaction.atomic():
                model._default_manager.filter(pk=key).update(**{field: to})
            done.append(key)
        except IntegrityError:
            continue
    return done
