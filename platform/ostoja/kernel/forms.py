"""The form is the only validator: one form class per set of fields, for the screen, the API, imports and sync alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from django import forms
from django.core.exceptions import NON_FIELD_ERRORS
from django.db import models
from django.db.models.constraints import UniqueConstraint
from django.forms.models import construct_instance
from django.utils.translation import gettext_lazy as _

from .constraints import Check

SPACES = str.maketrans("", "", " \u00a0\u202f\t")


class DecimalField(forms.DecimalField):
    """A number as people type it: ``1 234,50`` as well as ``1234.50``."""

    def to_python(self, value):
        if isinstance(value, str):
            value = value.translate(SPACES)
            if "," in value and "." not in value:
                value = value.replace(",", ".")
        return super().to_python(value)


class RelationField(forms.ModelChoiceField):
    """A related record, by its id or already looked up; ``known`` saves the query where many rows share few records."""

    default_error_messages = {"invalid_choice": _("There is no such record, or you may not see it.")}

    def __init__(self, *args, **kwargs):
        self.known: dict[str, models.Model] = {}
        super().__init__(*args, **kwargs)

    def to_python(self, value):
        if isinstance(value, models.Model):
            return value
        if value in self.empty_values:
            return None
        found = self.known.get(str(value))
        if found is not None:
            return found
        try:
            found = self.queryset.get(pk=value)
        except (ValueError, TypeError, forms.ValidationError, self.queryset.model.DoesNotExist) as error:
            raise forms.ValidationError(self.error_messages["invalid_choice"], code="invalid_choice") from error
        return found

    def validate(self, value):
        forms.Field.validate(self, value)


class JSONField(forms.JSONField):
    """Plain data. An empty list or object is a value; nothing at all is what the model says of a new record."""

    empty_values = [None, ""]

    def __init__(self, *args, nothing: Callable = lambda: None, **kwargs):
        self.nothing = nothing
        super().__init__(*args, **kwargs)

    def clean(self, value):
        value = super().clean(value)
        return self.nothing() if value is None else value


def formfield(field: models.Field, **kwargs):
    """The form field of a model field; what the model itself says of a wrong choice, the form says as well."""
    if field.choices and "invalid_choice" in (field._error_messages or {}):
        kwargs["error_messages"] = {"invalid_choice": field._error_messages["invalid_choice"]}
    if isinstance(field, models.JSONField) and not field.null and field.has_default():
        return field.formfield(form_class=JSONField, nothing=field.get_default, **kwargs)
    if isinstance(field, models.ForeignKey):
        return field.formfield(form_class=RelationField, **kwargs)
    if isinstance(field, models.DecimalField):
        return field.formfield(form_class=DecimalField, **kwargs)
    return field.formfield(**kwargs)


class RecordForm(forms.ModelForm):
    """Binds data to one record. ``related(model)`` gives the records that may be pointed to."""

    in_bulk = False
    with_lines = False

    def __init__(
        self, data=None, *, instance=None, related: Callable | None = None, asks: Iterable[str] = (), initial=None
    ):
        super().__init__(data=data, instance=instance, initial=initial)
        self.related = related
        for name, field in self.fields.items():
            if isinstance(field, RelationField):
                field.queryset = related(field.queryset.model) if related else field.queryset
            if name in asks:
                field.required = True

    def again(self, data, instance):
        """Use this very form for the next row: fields and their known relations are kept."""
        self.data, self.instance = data, instance
        self.is_bound = True
        self._errors = None
        return self

    def add_error(self, field, error):
        """Like Django's, but a rule may also speak of a field that is not in this form."""
        if field is None and hasattr(error, "error_dict"):
            for name, messages in error.error_dict.items():
                if name == NON_FIELD_ERRORS:
                    self.add_error(None, messages)
                elif messages := self._told_once(name, messages):
                    self.add_error(name, messages)
        elif field is None or field in self.fields:
            super().add_error(field, error)
        else:
            self._errors.setdefault(field, self.error_class()).extend(forms.ValidationError(error).error_list)

    def _told_once(self, name: str, errors: list) -> list:
        """Of a field that is known to be wrong, the rules need say nothing more: one sentence says what to do."""
        rules = {c.name for c in self._meta.model._meta.constraints}
        wrong = name in self._errors or any(one.code not in rules for one in errors)
        return [one for one in errors if not (wrong and one.code in rules)]

    def _post_clean(self):
        if not self.in_bulk:
            return super()._post_clean()
        # In bulk only what needs no query is asked here; the insert itself tells the rest. What follows from the lines
        # (an amount) is not known yet, so that rules on a record with lines are left to the database.
        exclude = self._get_validation_exclusions()
        exclude |= {
            n for n, f in self.fields.items() if isinstance(f, RelationField)
        }  # looked up already, among the visible
        try:
            self.instance = construct_instance(self, self.instance, self._meta.fields)
            self.instance.clean_fields(exclude=exclude)
            self.instance.clean()
            for constraint in self.instance._meta.constraints:
                if isinstance(constraint, Check) and not self.with_lines and constraint.field not in self._errors:
                    constraint.validate(type(self.instance), self.instance)
        except forms.ValidationError as error:
            self._update_errors(error)


@lru_cache(maxsize=4096)
def form_class(model: type[models.Model], names: tuple[str, ...]) -> type[RecordForm]:
    """The form of these fields of a model."""
    meta = type("Meta", (), {"model": model, "fields": list(names), "formfield_callback": staticmethod(formfield)})
    return type(f"{model.__name__}Form", (RecordForm,), {"Meta": meta})


def unique_names(model: type[models.Model]) -> dict[str, UniqueConstraint]:
    """Unique constraints of a model by name."""
    return {c.name: c for c in model._meta.constraints if isinstance(c, UniqueConstraint)}
