"""An owner names a second one, and hands the company over; both ask for the owner's own password."""

from urllib.parse import unquote

import pytest

from ostoja.testing.people import PASSWORD, make_user


@pytest.mark.parametrize(
    ("way", "stays", "words"), [("co-owner", True, "is an owner as well now."), ("owner", False, "is the owner now.")]
)
def test_the_password_is_asked_for_and_then_it_is_done(signed_in, owner, way, stays, words):
    heir = make_user("Hania Heir")
    url = f"/settings/people/{heir.pk}/{way}"
    assert "Hania Heir" in signed_in.get(url).content.decode()
    wrong = signed_in.post(url, {"password": "wrong"})
    heir.refresh_from_db()
    assert wrong.status_code == 422 and not heir.is_owner
    done = signed_in.post(url, {"password": PASSWORD})
    assert done.status_code == 204 and done["HX-Redirect"] == "/settings/people"
    assert f"Hania Heir {words}" in unquote(done.cookies["ostoja_says"].value)
    heir.refresh_from_db()
    owner.refresh_from_db()
    assert heir.is_owner and owner.is_owner is stays
