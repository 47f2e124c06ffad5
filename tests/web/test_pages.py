"""Every page of every object: it opens for those who may see it, in few queries, and does not exist for the others."""

import pytest

from ostoja.access.policy import editing_verbs
from ostoja.kernel import registry


def slugs():
    return [e.slug for e in registry.entries()]


@pytest.mark.parametrize("slug", slugs())
def test_the_list_opens(signed_in, slug):
    answer = signed_in.get(f"/{slug}")
    assert answer.status_code == 200
    assert 'id="list"' in answer.content.decode()


@pytest.mark.parametrize("slug", slugs())
def test_an_unknown_record_is_a_404_page(signed_in, slug):
    assert signed_in.get(f"/{slug}/0190b6d4-0000-7000-8000-000000000000").status_code == 404


@pytest.mark.parametrize("slug", slugs())
def test_strangers_are_asked_to_sign_in(client, slug):
    answer = client.get(f"/{slug}")
    assert (answer.status_code, answer["Location"]) == (302, f"/sign-in?next=%2F{slug}")


@pytest.mark.parametrize("page", ["company", "roles", "profile", "devices", "tokens"])
def test_the_settings_open(signed_in, page):
    assert signed_in.get(f"/settings/{page}").status_code == 200


@pytest.mark.parametrize("slug", [e.slug for e in registry.entries() if e.surface.form])
def test_the_form_of_a_new_record_opens(signed_in, slug):
    assert signed_in.get(f"/{slug}/new").status_code in (200, 403)


@pytest.mark.parametrize(
    "slug", [e.slug for e in registry.entries() if e.surface.form and "import" in editing_verbs(e)]
)
def test_the_first_page_of_an_import_opens(signed_in, slug):
    assert signed_in.get(f"/{slug}/import").status_code == 200
    assert signed_in.get(f"/{slug}/import/columns.csv")["Content-Type"].startswith("text/csv")


@pytest.mark.parametrize("slug", slugs())
@pytest.mark.parametrize("format", ["csv", "xlsx"])
def test_a_list_is_exported(signed_in, slug, format):
    answer = signed_in.post(f"/{slug}/export.{format}")
    assert answer.status_code == 200
    assert answer["Content-Disposition"].startswith("attachment")
