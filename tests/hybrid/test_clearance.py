"""Who has no clearance for the class “confidential” meets no such value on the premises: on no page, in no frame, in no answer of
the API, in no file; not in conflicts, previews, purges and names of records either."""

from __future__ import annotations

import io
import re

import pytest
from test_database import fill
from two_sites import SYSTEM, Pair, do

from ostoja.access.actor_of import actor_of
from ostoja.documents import files as documents
from ostoja.hybrid import labels
from ostoja.hybrid.models import Conflict, Link
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.errors import NotFound
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Browser, Program
from ostoja.testing.people import make_actor, make_user

IBAN = "PL61109010140000071219812874"
SECRETS = {
    "notes": "Notatki-7041", "revenue": "7,041,000", "revenue in the API": "7041000", "contact": "tajny7041@stalmet.example",
    "street": "Ukryta 7041", "tax number": "5252248481", "account": IBAN[-4:], "subject": "Temat-7041", "text": "Rozmowa-7041",
    "file": "umowa-7041.txt", "content": "Tresc-7041", "theirs": "Ich-7041", "reason": "Powod-7041",
}  # fmt: skip
GRANTS = {
    name: {"*": "all"}
    for name in (
        "party.party", "sales.deal", "planning.activity", "hybrid.conflict", "hybrid.parked", "hybrid.purgecase", "hybrid.label",
        "hybrid.policyrule", "catalog.product", "access.user", "exchange.exportrun", "sales.pipeline",
    )
}  # fmt: skip
PARTS = ("contact-points", "addresses", "tax-ids", "bank-accounts", "consents", "relations", "party-files")


def model(label):
    return registry.get(label).model


@pytest.fixture
def sites(lender):
    """A customer with a value of every kind that is confidential, and conflicts about such; a clerk without the clearance."""
    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    pair = Pair(cloud, premises)
    pair.load()
    pair.talk()
    pair.party, pair.parts = party, {}
    with tenant_context(premises):
        pair.olga = actor_of(make_user("Olga Owner", owner=True))
        pair.clerk = make_actor(GRANTS, classes=("public", "internal"), user=make_user("Karol Clerk"))
    with tenant_context(premises), changing(SYSTEM, "change"):
        Link.objects.update(url="https://firma.cloud.example/")
    do(premises, party, data={"notes": SECRETS["notes"], "annual_revenue": "7041000"})
    for label, data in {
        "party.contactpoint": {"type": "email", "value": SECRETS["contact"]},
        "party.address": {"line1": SECRETS["street"], "postal_code": "00-001", "city": "Gdynia", "country": "PL"},
        "party.taxid": {"country": "PL", "type": "nip", "value": SECRETS["tax number"]},
        "party.bankaccount": {"iban": IBAN, "currency": "PLN"},
        "planning.activity": {"kind": "call", "subject": SECRETS["subject"], "body": SECRETS["text"]},
    }.items():
        pair.parts[label] = do(premises, model(label), "add", {"party": party.pk, **data})
    with tenant_context(premises):
        upload = io.BytesIO(SECRETS["content"].encode())
        pair.file = documents.store(pair.olga, model("party.party").objects.get(pk=party.pk), upload, SECRETS["file"])
        upload = io.BytesIO(SECRETS["content"].encode())
        pair.parts["documents.activityfile"] = documents.store(
            pair.olga, pair.parts["planning.activity"], upload, SECRETS["file"]
        )
        site = Link.objects.get().site
        contact = pair.parts["party.contactpoint"].pk
        with changing(SYSTEM, "sync"):
            pair.conflicts = [
                Conflict.objects.create(
                    about=about, record=record, field=field, rule=rule, ours=ours, theirs=theirs, site=site, owner=pair.clerk.user,
                    reason=SECRETS["reason"],
                )
                for about, record, field, rule, ours, theirs in (
                    ("party.party", party.pk, "notes", "latest", SECRETS["notes"], SECRETS["theirs"]),
                    ("party.party", party.pk, "notes", "refused", SECRETS["notes"], SECRETS["theirs"]),
                    ("party.party", party.pk, "", "deleted", {"name": "Acme", "notes": SECRETS["notes"]}, None),
                    ("party.contactpoint", contact, "value", "unique", SECRETS["contact"], SECRETS["theirs"]),
                    ("party.contactpoint", contact, "", "deleted", {"value": SECRETS["contact"]}, None),
                    ("planning.activity", pair.parts["planning.activity"].pk, "subject", "latest", SECRETS["subject"], SECRETS["theirs"]),
                )
            ]  # fmt: skip
    return pair


@pytest.fixture
def clerk(sites):
    """A browser of the clerk on the premises."""
    return Browser(sites.premises, raise_request_exception=False).sign_in(sites.clerk.user)


@pytest.fixture
def olga(sites):
    """A browser of the owner, who sees everything: what is looked for is there to be found."""
    return Browser(sites.premises, raise_request_exception=False).sign_in(sites.olga.user)


def said(answer) -> str:
    """The text of an answer of any kind."""
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return content.decode(errors="replace")


def is_in(text: str, secret: str) -> bool:
    """Whether a secret stands in a text; the last digits of the account as such, or at its end, not within a key that has them by chance."""
    return (
        bool(re.search(rf"(?<![0-9a-f-]){secret}(?![0-9a-f-])|{IBAN}", text)) if secret == IBAN[-4:] else secret in text
    )


def told(answers) -> dict[str, list[str]]:
    """{where: which secrets are told there}; no page may be a fault."""
    found = {}
    for where, answer in answers:
        assert answer.status_code < 500, (where, said(answer)[:500])
        text = said(answer)
        if names := [name for name, secret in SECRETS.items() if is_in(text, secret)]:
            found[where] = names
    return found


def pages(sites) -> list[str]:
    """Every page of the premises on which a confidential value has a place."""
    card, activity = f"/parties/{sites.party.pk}", f"/activities/{sites.parts['planning.activity'].pk}"
    records = {registry.of(type(one)).slug: one.pk for one in (*sites.parts.values(), sites.file)}
    return [
        "/conflicts", f"/conflicts?record={sites.party.pk}", *(f"/conflicts/{c.pk}" for c in sites.conflicts),
        card, *(f"{card}?tab={tab}" for tab in ("history", "activities", "attachments", "deals")), f"{card}/edit", activity, f"{activity}?tab=history",
        f"{activity}?tab=attachments", "/parties", "/activities", "/activities/calendar", "/palette?q=acme", "/parties/options?q=acme",
        *(f"/{slug}" for slug in PARTS), *(f"/{slug}/{key}" for slug, key in records.items()),
        *(f"/{slug}/{key}/edit" for slug, key in records.items()), *(f"/{slug}/{key}/content" for slug, key in records.items()),
        *(f"/{slug}/options?q={q}" for slug in PARTS for q in ("7041", "525")),
        *(f"/hybrid/{slug}/{key}/mark" for slug, key in {"parties": sites.party.pk, **records}.items()),
        "/settings/hybrid/purges", "/settings/hybrid/policy",
    ]  # fmt: skip


def frames(sites) -> list[str]:
    """Every page that goes into a frame of the cloud."""
    card, activity = f"/frame/parties/{sites.party.pk}", f"/frame/activities/{sites.parts['planning.activity'].pk}"
    return [
        card, f"{card}?whole=1", f"{card}?fields=notes,annual_revenue,name", f"{card}/edit?fields=notes,annual_revenue",
        *(f"{card}/part/{part}" for part in ("activities", "attachments", "deals", "consents", "contact_points")),
        f"/frame/parties?ids={sites.party.pk}&fields=notes,annual_revenue", "/frame/activities", activity, f"{activity}?whole=1",
        f"{activity}/part/attachments", f"/frame/party-files/{sites.file.pk}/content",
        *(f"/frame/{slug}" for slug in PARTS),
        *(f"/frame/{registry.of(type(one)).slug}/{one.pk}?whole=1" for one in sites.parts.values()),
        *(f"/frame/{registry.of(type(one)).slug}/{one.pk}/edit" for one in sites.parts.values()),
    ]  # fmt: skip


def addresses(sites) -> list[str]:
    """Every address of the API at which a confidential value could be told."""
    card, activity = f"parties/{sites.party.pk}", f"activities/{sites.parts['planning.activity'].pk}"
    return [
        "conflicts/", *(f"conflicts/{c.pk}{end}" for c in sites.conflicts for end in ("/", "/values", "/history")),
        "conflicts/?fields=ours,theirs,reason", "conflicts/aggregate?group_by=ours&measure=count",
        "parties/", f"{card}/", f"{card}/history", f"{card}/sharing", "activities/", f"{activity}/", f"{activity}/history", f"{activity}/sharing",
        f"{activity}/files", f"{card}/files", "parties/?fields=notes", "parties/aggregate?group_by=notes&measure=count",
        *(f"{slug}/" for slug in (*PARTS, "activity-files", "parked", "purges", "labels", "policy-rules")),
        *(f"{slug}/?search=7041" for slug in (*PARTS, "parties", "activities")),
        f"party-files/{sites.file.pk}/content", f"party-files/{sites.file.pk}/sharing",
    ]  # fmt: skip


def test_what_is_looked_for_is_there_for_who_may_see_it(sites, olga):
    found = told((path, olga.get(path)) for path in [*pages(sites), *frames(sites)])
    names = {name for some in found.values() for name in some}
    assert names >= SECRETS.keys() - {"revenue in the API"}
    api = Program.of(sites.premises, sites.olga.user)
    found = told((path, api.get(f"/api/v1/{path}")) for path in addresses(sites))
    assert {name for some in found.values() for name in some} >= SECRETS.keys() - {"revenue"}


def test_no_page_tells_it(sites, clerk):
    assert told((path, clerk.get(path)) for path in pages(sites)) == {}


def test_no_conflict_tells_it_when_it_is_decided(sites, clerk):
    answers = []
    for conflict in sites.conflicts:
        for verb in ("keep_ours", "take_theirs", "settle"):
            answers.append(
                (conflict.rule + verb, clerk.post(f"/conflicts/{conflict.pk}/decide", {"verb": verb}, follow=True))
            )
        data = {"record": str(conflict.record), "value": "other@acme.example"}
        answers.append((conflict.rule, clerk.post(f"/conflicts/{conflict.pk}/rename", data, follow=True)))
    assert told(answers) == {}


@pytest.mark.parametrize(
    ("grants", "classes"),
    [
        (GRANTS, ("public", "internal", "restricted")),
        ({"hybrid.conflict": {"*": "all"}}, ("public", "internal", "confidential", "restricted")),
        ({**GRANTS, "party.party": {"*": "own"}, "planning.activity": {"*": "own"}}, ("public", "internal", "confidential", "restricted")),
    ],
    ids=["another class", "another object", "another scope"],
)  # fmt: skip
def test_a_conflict_opens_no_way_to_what_the_role_does_not_include(sites, grants, classes):
    with tenant_context(sites.premises):
        other = make_actor(grants, classes=classes, user=make_user("Other"))
    browser = Browser(sites.premises, raise_request_exception=False).sign_in(other.user)
    api = Program.of(sites.premises, other.user)
    paths = [path for path in pages(sites) if path.startswith("/conflicts")]
    answers = [(path, browser.get(path)) for path in paths]
    answers += [(path, api.get(f"/api/v1/{path}")) for path in addresses(sites) if path.startswith("conflicts")]
    answers += [(kind, browser.post(f"/conflicts/export.{kind}")) for kind in ("csv", "xlsx")]
    assert told(answers) == {}


def test_no_frame_tells_it(sites, clerk):
    assert told((path, clerk.get(path)) for path in frames(sites)) == {}


@pytest.mark.parametrize("words", ["7041", "tajny7041", "Acme", "525224", "PL61", "Gdynia"])
def test_no_search_finds_it_or_names_by_it(sites, clerk, words):
    seal = re.search(r'data-seal="(\w+)"', said(clerk.get("/frame/search")))[1]
    own = f"http://{clerk.host}"
    answers = [("frame", clerk.post("/frame/search", {"q": words, "seal": seal}, HTTP_ORIGIN=own))]
    answers += [(path, clerk.get(path)) for path in (f"/palette?q={words}", f"/parties?q={words}", f"/activities?q={words}")]  # fmt: skip
    echoed = [name for name, secret in SECRETS.items() if secret in words]
    assert {where: [n for n in names if n not in echoed] for where, names in told(answers).items() if set(names) - set(echoed)} == {}  # fmt: skip


def test_the_api_does_not_tell_it(sites):
    api = Program.of(sites.premises, sites.clerk.user)
    assert told((path, api.get(f"/api/v1/{path}")) for path in addresses(sites)) == {}
    answers = [
        (f"{path} {word}", api.post(f"/api/v1/{path}/{word}"))
        for path in (f"parties/{sites.party.pk}", f"activities/{sites.parts['planning.activity'].pk}")
        for word in ("mark-sensitive", "open-again")
    ]
    assert told(answers) == {}


def test_no_export_has_it(sites, clerk):
    slugs = ("parties", "activities", "conflicts", "parked", "purges", *PARTS)
    answers = [(f"{slug}.{kind}", clerk.post(f"/{slug}/export.{kind}")) for slug in slugs for kind in ("csv", "xlsx")]
    assert all(a.status_code in (200, 404) for _where, a in answers)
    assert told(answers) == {}


def test_the_bytes_of_a_file_are_as_confidential_as_its_name(sites):
    with tenant_context(sites.premises):
        with pytest.raises(NotFound):
            documents.open_file(sites.clerk, type(sites.file), sites.file.pk)
        assert documents.open_file(sites.olga, type(sites.file), sites.file.pk)[1].read() == SECRETS["content"].encode()


def test_marks_and_purges_name_nothing_that_is_confidential(sites, clerk):
    with tenant_context(sites.premises):
        labels.close(sites.olga, sites.parts["planning.activity"])
    sites.talk()
    assert told((path, clerk.get(path)) for path in pages(sites)) == {}
    api = Program.of(sites.premises, sites.clerk.user)
    assert told((path, api.get(f"/api/v1/{path}")) for path in addresses(sites)) == {}
