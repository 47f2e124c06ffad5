"""Signing up: a company works in its own tenant at once, and whatever goes wrong leaves nothing half-done."""

import threading

import pytest
from django.contrib.auth.hashers import check_password
from django.db import connections
from django.test import RequestFactory
from django.utils import timezone

from ostoja.access import signin
from ostoja.access.limits import Limit, TooMany
from ostoja.access.links import LinkRefused
from ostoja.access.models import Department, Role, User
from ostoja.journal.models import Change
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.onboarding import applying, signup
from ostoja.onboarding.models import SignUp
from ostoja.tenancy import names, pool, provisioning
from ostoja.tenancy.context import platform_context, tenant_context
from ostoja.tenancy.models import ReadySchema, Tenant
from ostoja.testing.people import PASSWORD

HERE = "192.0.2.7"
TAKEN = "This address is taken, or too much like one that is. Choose another."


def tenants() -> list[str]:
    with platform_context():
        return sorted(Tenant.objects.values_list("slug", flat=True))


def ready() -> int:
    with platform_context():
        return ReadySchema.objects.count()


def test_a_company_has_its_tenant_with_its_blueprint_and_its_owner(lender, company):
    done = signup.sign_up(company(), HERE)
    tenant = provisioning.find("mlyny-gorskie")
    assert (tenant.state, tenant.name, tenant.language) == ("open", "Młyny Górskie sp. z o.o.", "pl")
    assert (tenant.blueprint, tenant.currency, tenant.timezone) == ("wholesale", "PLN", "Europe/Warsaw")
    assert done.url.startswith("http://mlyny-gorskie.localhost")
    with tenant_context(tenant):
        owner = User.objects.get()
        assert (owner.email, owner.name, owner.is_owner) == ("anna.nowak@mlyny.example", "Anna Nowak", True)
        assert (owner.language, owner.email_confirmed_at) == ("pl", None)
        assert check_password(PASSWORD, owner.password)
        assert [r.name for r in owner.roles.all()] == ["Kierownictwo firmy"]
        assert {"Magazyn", "Zakupy"} <= set(Department.objects.values_list("name", flat=True))
        assert Role.objects.get(code="purchaser").name == "Zaopatrzenie"
        assert set(Change.objects.values_list("actor", flat=True)) == {"system:"}


def test_what_is_kept_of_a_sign_up_holds_no_password(lender, company):
    signup.sign_up(company(), HERE)
    with platform_context():
        kept = SignUp.objects.get()
    assert kept.password == ""
    assert kept.opened_at <= timezone.now()


def test_the_link_signs_the_owner_in_once_and_only_at_their_tenant(lender, company):
    done = signup.sign_up(company(), HERE)
    other = signup.sign_up(company(company="Inna Firma", slug="inna-firma"), HERE)
    token = done.url.rpartition("/")[2]
    request = RequestFactory().get("/")
    with tenant_context(other.tenant), pytest.raises(LinkRefused):
        signin.sign_in_by_link(request, token)
    with tenant_context(done.tenant):
        session = signin.sign_in_by_link(request, token)
        assert session.user == done.user
        with pytest.raises(LinkRefused, match="used already"):
            signin.sign_in_by_link(request, token)


def test_the_owner_signs_in_with_the_password_they_chose(lender, company):
    done = signup.sign_up(company(), HERE)
    with tenant_context(done.tenant):
        assert signin.sign_in(RequestFactory().post("/"), "Anna.Nowak@mlyny.example", PASSWORD).user == done.user


def test_it_works_with_an_empty_pool(lender, company):
    with platform_context():
        for schema in ReadySchema.objects.values_list("schema_name", flat=True):
            pool.drop(schema)
    assert ready() == 0
    assert signup.sign_up(company(), HERE).tenant.state == "open"


@pytest.mark.parametrize("slug", ["admin", "www", "admins", "pg-catalog", "аdmin", "adm1n", "demo", "support"])
def test_reserved_addresses_are_refused(lender, company, slug):
    with pytest.raises(Refused) as refused:
        signup.sign_up(company(slug=slug), HERE)
    assert list(refused.value.fields) == ["slug"]
    assert tenants() == []


@pytest.mark.parametrize(
    "slug", ["", "ab", "a" * 41, "-mill", "mill-", "mill_house", "12345", "xn--mill", "pg_mill", "młyn house", "a.b.c"]
)
def test_malformed_addresses_are_refused_with_advice(lender, company, slug):
    with pytest.raises(Refused) as refused:
        signup.sign_up(company(slug=slug), HERE)
    assert list(refused.value.fields) == ["slug"]
    assert refused.value.fields["slug"][0].endswith(".")


@pytest.mark.parametrize("slug", ["mlyny-gorskie", "MLYNY-GORSKIE", "mlynygorskie", "mlyny-g0rskie", "mlyny-gorskje"])
def test_taken_and_look_alike_addresses_are_refused(lender, company, slug):
    signup.sign_up(company(), HERE)
    with pytest.raises(Refused) as refused:
        signup.sign_up(company(slug=slug), HERE)
    assert refused.value.fields == {"slug": [TAKEN]}
    assert tenants() == ["mlyny-gorskie"]


def test_nobody_learns_from_the_live_check_who_is_a_customer(lender, company):
    signup.sign_up(company(), HERE)
    answers = {slug: signup.check_name(slug, HERE) for slug in ("mlyny-gorskie", "mlyny-g0rskie", "admin", "demo")}
    assert {a.sentence for a in answers.values()} == {TAKEN}
    assert not any(a.free for a in answers.values())
    assert signup.check_name(" Inna-Firma ", HERE) == signup.Answer("inna-firma", free=True)


def test_nobody_learns_from_the_sign_up_whose_address_is_known(lender, company):
    signup.sign_up(company(), HERE)
    again = signup.sign_up(company(company="Second", slug="druga-firma"), HERE)
    with tenant_context(again.tenant):
        assert User.objects.get().email == "anna.nowak@mlyny.example"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("company", ""),
        ("company", " \n "),
        ("company", "x" * 201),
        ("company", "Mill\x00"),
        ("email", "anna"),
        ("email", f"{'a' * 250}@mill.example"),
        ("password", "short"),
        ("password", "password123"),
        ("password", "mlyny-gorskie"),
        ("blueprint", "../../etc"),
        ("blueprint", ""),
        ("language", "de"),
    ],
)
def test_what_can_not_be_is_refused_by_field_and_leaves_nothing(lender, company, field, value):
    before = ready()
    with pytest.raises(Refused) as refused:
        signup.sign_up(company(**{field: value}), HERE)
    assert list(refused.value.fields) == [field]
    assert (tenants(), ready()) == ([], before)


def test_a_program_that_fills_in_everything_is_refused(lender, company):
    with pytest.raises(Refused):
        signup.sign_up(company(website="https://spam.example"), HERE)
    assert tenants() == []


@pytest.mark.parametrize("changes", [{"signup": "closed"}, {"kind": "private"}])
def test_where_sign_up_is_closed_nobody_signs_up(lender, company, installation_is, changes):
    installation_is(**changes)
    with pytest.raises(NotAllowed):
        signup.sign_up(company(), HERE)
    assert tenants() == []


def test_one_network_can_not_sign_up_without_end(lender, company, monkeypatch):
    monkeypatch.setattr(signup, "FROM_NETWORK", Limit("sign-up-network-test", 1, 3600))
    signup.sign_up(company(), "2001:db8:1:2::1")
    with pytest.raises(TooMany) as refused:
        signup.sign_up(company(slug="druga-firma"), "2001:db8:1:2:ffff::9")
    assert refused.value.retry_after == 3600
    assert tenants() == ["mlyny-gorskie"]
    signup.sign_up(company(slug="druga-firma"), "2001:db8:1:3::1")


def test_one_network_can_not_try_all_addresses(lender, monkeypatch):
    monkeypatch.setattr(signup, "LOOKS_FROM_NETWORK", Limit("address-network-test", 2, 600))
    signup.check_name("one-address", HERE)
    signup.check_name("two-address", HERE)
    with pytest.raises(TooMany):
        signup.check_name("three-address", HERE)


class Broken(Exception):
    """A step fails."""


@pytest.fixture
def broken_blueprint(monkeypatch):
    """Applying the blueprint fails half-way, until ``mend`` is called."""
    real = applying.apply

    def fails(plan, actor, language):
        real(plan, actor, language)
        raise Broken("the disk is full")

    monkeypatch.setattr(applying, "apply", fails)
    return lambda: monkeypatch.setattr(applying, "apply", real)


def test_a_failed_step_leaves_it_building_with_the_reason_and_resume_goes_on(lender, company, broken_blueprint):
    with pytest.raises(signup.NotBuilt) as stopped:
        signup.sign_up(company(), HERE)
    tenant = provisioning.find("mlyny-gorskie")
    assert (tenant.state, tenant.reason) == ("building", "Broken: the disk is full")
    with tenant_context(tenant):
        assert not Role.objects.exists()
        assert not User.objects.exists()
    assert signup.progress(stopped.value.watch) == signup.Progress(tenant, reason="Broken: the disk is full")
    broken_blueprint()
    done = signup.resume(provisioning.find("mlyny-gorskie"))
    assert (done.tenant.state, done.tenant.reason) == ("open", "")
    with tenant_context(done.tenant):
        assert check_password(PASSWORD, User.objects.get().password)
        assert Role.objects.filter(code="head").count() == 1
    url = signup.progress(stopped.value.watch).url
    assert url.startswith("http://mlyny-gorskie.localhost")
    with pytest.raises(NotFound):
        signup.progress(stopped.value.watch)


def test_what_stopped_is_tried_again_by_the_schedule_later_each_time(lender, company, broken_blueprint):
    with pytest.raises(signup.NotBuilt):
        signup.sign_up(company(), HERE)
    assert signup.resume_stopped() == 0
    with platform_context():
        kept = SignUp.objects.get()
        assert kept.attempts == 1
        SignUp.objects.update(tried_at=timezone.now() - timezone.timedelta(seconds=61))
    broken_blueprint()
    assert signup.resume_stopped() == 1
    assert provisioning.find("mlyny-gorskie").state == "open"
    assert signup.resume_stopped() == 0


def test_resuming_what_is_open_changes_nothing(lender, company):
    done = signup.sign_up(company(), HERE)
    again = signup.build(done.tenant)
    assert again.user == done.user
    with tenant_context(done.tenant):
        assert User.objects.count() == 1


def test_resume_opens_a_suspended_tenant(lender, company):
    done = signup.sign_up(company(), HERE)
    provisioning.suspend(done.tenant)
    assert signup.resume(done.tenant) is None
    assert provisioning.find("mlyny-gorskie").state == "open"


def test_a_tenant_of_which_nothing_is_known_can_not_be_built(lender):
    with platform_context():
        bare = provisioning.create("Bare", "bare-tenant")
    with pytest.raises(NotFound):
        signup.build(bare)


def test_two_that_build_at_once_build_once(lender):
    begun = signup.begin(
        "Twice", "twice-built", email="t@example.com", password=PASSWORD, blueprint="general", language="en"
    )
    errors = []

    def build():
        try:
            signup.build(provisioning.find("twice-built"))
        except Exception as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with tenant_context(begun):
        assert User.objects.count() == 1
        assert Role.objects.filter(code="head").count() == 1


def test_two_that_want_the_same_address_at_once_get_one_tenant(lender, company):
    outcomes = []

    def try_it(number):
        try:
            signup.sign_up(company(email=f"p{number}@mlyny.example"), HERE)
            outcomes.append("made")
        except Refused as error:
            outcomes.append(error.fields["slug"][0])
        finally:
            connections.close_all()

    threads = [threading.Thread(target=try_it, args=[n]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [TAKEN] * 3 + ["made"]
    assert tenants() == ["mlyny-gorskie"]


def test_what_never_opened_is_forgotten(lender, company, broken_blueprint):
    with pytest.raises(signup.NotBuilt):
        signup.sign_up(company(), HERE)
    assert signup.forget_stopped() == 0
    with platform_context():
        SignUp.objects.update(created_at=timezone.now() - signup.FORGET_AFTER)
    assert signup.forget_stopped() == 1
    broken_blueprint()
    done = signup.resume(provisioning.find("mlyny-gorskie"))
    with tenant_context(done.tenant), pytest.raises(signin.NotSignedIn):
        signin.sign_in(RequestFactory().post("/"), done.user.email, PASSWORD)


@pytest.mark.parametrize(
    ("email", "name"),
    [
        ("anna.nowak@x.pl", "Anna Nowak"),
        ("jan_kowalski+crm@x.pl", "Jan Kowalski Crm"),
        ("biuro@x.pl", "Biuro"),
        ("4711@x.pl", "4711"),
    ],
)
def test_the_first_guess_at_a_name(email, name):
    assert signup.person_of(email) == name


def test_an_address_is_made_of_a_company_s_name():
    assert names.suggest("Młyny Górskie sp. z o.o.") == "mlyny-gorskie-sp-z-o-o"
