"""A model's data declaration answers for every field, and is refused when it lies."""

import pytest
from django.db import models

from ostoja.kernel import checks
from ostoja.kernel.data import Data, DataClass, Sync
from ostoja.kernel.record import Record


def test_star_stands_for_the_fields_that_are_not_named():
    data = Data(internal=["title"], confidential="*")
    assert data.class_of("title") is DataClass.INTERNAL
    assert data.class_of("added_tomorrow") is DataClass.CONFIDENTIAL


def test_without_a_star_an_unnamed_field_has_no_class():
    assert Data(public=["name"]).class_of("other") is None


def test_secret_fields_are_restricted():
    assert Data(internal=["email"], secret=["password"]).class_of("password") is DataClass.RESTRICTED


def declared(**attributes):
    """The ids of the checks that a model with these attributes fails."""
    fields = {"title": models.CharField(max_length=10)}
    meta = type("Meta", (), {"abstract": False, "app_label": "declared_in_test"})
    model = type("Declared", (Record,), {"__module__": "ostoja.example", "Meta": meta, **fields, **attributes})
    from django.apps import apps

    try:
        return [e.id for e in checks._says(model)]
    finally:
        del apps.all_models["declared_in_test"]["declared"]


@pytest.mark.parametrize(
    ("attributes", "ids"),
    [
        ({"data": Data(internal=["title"]), "sync": Sync.MERGE}, []),
        ({"data": Data(internal=["title"])}, ["ostoja.E001"]),
        ({"sync": Sync.MERGE}, ["ostoja.E002"]),
        ({"data": Data(internal="*"), "sync": Sync.MERGE}, ["ostoja.E003"]),
        ({"data": Data(), "sync": Sync.MERGE}, ["ostoja.E004"]),
        ({"data": Data(internal=["title", "gone"]), "sync": Sync.MERGE}, ["ostoja.E005"]),
    ],
)
def test_a_model_that_does_not_say_its_data_or_sync_is_refused(attributes, ids):
    assert declared(**attributes) == ids
