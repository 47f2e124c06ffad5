"""Blueprints: ours are sound, apply in every language, and differ; what another says wrongly is refused by name."""

import pytest
from django.db import transaction

from ostoja.crm.sales.models import Deal, Pipeline
from ostoja.jobs import runner
from ostoja.jobs.queue import queue
from ostoja.journal.models import Change
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotFound
from ostoja.onboarding import applying, blueprints
from ostoja.onboarding.blueprints import BlueprintBroken

OURS = ["wholesale", "manufacturing", "services", "general"]
HEAD = 'name = { en = "Small", pl = "Mały" }\nwords = { en = "Small.", pl = "Mały." }\n'


@pytest.fixture
def write(tmp_path):
    """``write("small/roles.toml", "…")`` puts a file into a directory of blueprints; answers the directory."""

    def put(name, text):
        file = tmp_path / "blueprints" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return tmp_path / "blueprints"

    return put


def applied(name, language="en"):
    with transaction.atomic():
        return applying.apply(blueprints.get(name), Actor.system(), language)


def counts():
    """How many records of each object there are."""
    return {e.label: n for e in registry.entries() if (n := e.model._default_manager.count())}


def test_these_are_offered():
    assert blueprints.names() == OURS


@pytest.mark.parametrize("name", OURS)
def test_ours_are_sound(name):
    assert blueprints.check(blueprints.get(name)) == []


@pytest.mark.parametrize("language", ["en", "pl"])
@pytest.mark.parametrize("name", OURS)
def test_ours_apply_in_every_language(tenant, name, language):
    plan = blueprints.get(name)
    placed = applied(name, language)
    assert len(placed) == sum(len(rows) for rows in plan.tables.values())
    for pipeline in Pipeline.objects.all():
        kinds = list(pipeline.stages.order_by("position").values_list("kind", flat=True))
        assert kinds[-2:] == ["won", "lost"]
        assert set(kinds[:-2]) == {"open"}
    head = placed["roles", plan.owner_role]
    assert head.name == {"en": "Head of the company", "pl": "Kierownictwo firmy"}[language]
    assert "restricted" in head.classes


@pytest.mark.parametrize("name", OURS)
def test_applying_again_changes_nothing(tenant, name):
    first = applied(name)
    written = Change.objects.count()
    again = applied(name)
    assert {k: r.pk for k, r in again.items()} == {k: r.pk for k, r in first.items()}
    assert Change.objects.count() == written


@pytest.mark.parametrize("name", OURS)
def test_samples_come_and_go_in_one_go(tenant, owner, actor, name):
    plan = blueprints.get(name)
    applied(name, "pl")
    before = counts()
    with transaction.atomic():
        added = applying.add_samples(plan, Actor.system(), "pl")
    assert added == sum(len(rows) for rows in plan.samples.values()) > 8
    deals = Deal.objects.select_related("party", "stage")
    assert all(deal.party and deal.amount > 0 and deal.stage.kind == "open" for deal in deals)
    assert any(deal.lines.exists() for deal in deals)
    assert applying.remove_samples(actor) == []
    assert counts() == before


def test_a_sample_that_is_in_use_stays_and_says_why(tenant, owner, actor):
    from ostoja import gate

    applied("general")
    with transaction.atomic():
        applying.add_samples(blueprints.get("general"), Actor.system(), "en")
    party = registry.get("party.party").model.objects.get(name="Harbour Clinic")
    mine = gate.perform(actor, registry.get("sales.deal").model, "add", {"title": "A real one", "party": party.pk})
    stayed = applying.remove_samples(actor)
    assert len(stayed) == 1
    assert stayed[0].startswith("Harbour Clinic: ")
    assert Deal.objects.get() == mine


def test_the_industries_really_differ():
    seen = {}
    for name in OURS:
        plan = blueprints.get(name)
        for slug in ("pipelines", "categories", "roles"):
            seen.setdefault(slug, []).append(frozenset(plan.tables[slug]))
    for slug, keys in seen.items():
        assert len(set(keys)) == len(OURS), f"Two industries have the same {slug}."


@pytest.mark.parametrize("name", OURS)
def test_no_role_but_the_head_manages_people_or_sees_everything(name):
    for key, role in blueprints.get(name).tables["roles"].items():
        if key != "head":
            assert "*" not in role.values["grants"]
            assert set(role.values["grants"]["access.user"]) == {"view"}


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("blueprint.toml", 'name = "Small"\nwords = { en = "x", pl = "y" }', "name must be given in all languages"),
        ("blueprint.toml", HEAD.replace(', pl = "Mały."', ""), "words has no words in “pl”"),
        ("blueprint.toml", HEAD + 'colour = "red"', "“colour” is no setting of a blueprint"),
        ("blueprint.toml", HEAD + 'timezone = "Europe/Warszawa"', "“Europe/Warszawa” is no time zone"),
        ("blueprint.toml", HEAD + 'currency = "złoty"', "currency must be three capital letters"),
        ("blueprint.toml", HEAD + 'owner_role = "chief"', "owner_role names “chief”"),
        ("unts.csv", "key,code\npcs,pcs\n", "no object has the address “unts”; did you mean “units”?"),
        (
            "units.csv",
            "key,code,name,decmals\npcs,pcs,Piece,0\n",
            "no field “decmals” that can be set; did you mean “decimals”?",
        ),
        ("units.csv", "key,code\npcs,pcs\n", "“name” must be given"),
        ("units.csv", "key,code,name,name.pl\npcs,pcs,Piece,\n", "name has no words in “pl”"),
        ("categories.csv", "key,name,parent\na,A,b\n", "parent points to “b”, and no row of categories has this key"),
        ("categories.csv", "key,name,parent\na,A,b\nb,B,a\n", "is a part of itself"),
        ("stages.csv", "key,pipeline,name\na,x,A\n", "pipeline points to “x”"),
        (
            "pipelines.toml",
            '[p]\nname = "P"\nstages = [{ name = "S", kind = "maybe" }]',
            "kind can't be “maybe”; it can be open",
        ),
        ("pipelines.toml", '[p]\nname = "P"\nposition = 1.5', "is a number with a fraction"),
        ("roles.toml", '[r]\nname = "R"\n"sales.deel" = { view = "all" }', "There is no object “sales.deel”"),
        ("roles.toml", '[r]\nname = "R"\n"sales.deal" = { wyn = "all" }', "“sales.deal” has no verb “wyn”"),
        ("roles.toml", '[r]\nname = "R"\n"sales.deal" = { win = "mine" }', "“sales.deal” has no scope “mine”"),
        ("roles.toml", '[r]\nname = "R"\n"sales.dealline" = { view = "all" }', "is a part of “sales.deal”"),
        ("roles.toml", '[r]\nname = "R"\nclasses = ["secret"]', "There is no data class “secret”"),
    ],
)
def test_what_code_does_not_declare_is_refused_by_name(write, file, text, said):
    root = write("small/blueprint.toml", HEAD)
    write(f"small/{file}", text)
    problems = blueprints.check(blueprints.load(root, "small"))
    assert len(problems) == 1
    assert problems[0].startswith(f"small/{file}")
    assert said in problems[0]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("units.csv", "code,name\npcs,Piece\n", "the first column must be “key”"),
        ("units.csv", "key,code,name\npcs,pcs\n", "more or fewer cells"),
        ("units.csv", "key,code,name\na,a,A\na,b,B\n", "the key “a” stands here twice"),
        ("roles.toml", "[r\n", "is not TOML"),
        ("roles.toml", 'r = "x"', "every row is a table"),
        ("units.xlsx", "", "made of .toml and .csv files"),
        ("blueprint.toml", HEAD + 'extends = "small"', "it extends itself"),
        ("blueprint.toml", HEAD + 'without = ["units.kg"]', "without names “units.kg”"),
    ],
)
def test_what_can_not_be_read_is_refused_with_its_place(write, file, text, said):
    root = write("small/blueprint.toml", HEAD)
    write(f"small/{file}", text)
    with pytest.raises(BlueprintBroken, match="small") as refused:
        blueprints.load(root, "small")
    assert said in refused.value.message


@pytest.mark.parametrize("name", ["nothing", "../general", "", "General"])
def test_a_blueprint_that_is_not_there(name):
    with pytest.raises(NotFound):
        blueprints.get(name)


def test_what_is_extended_is_laid_below(write):
    root = write("base/blueprint.toml", HEAD)
    write(
        "base/roles.toml",
        '[r]\nname = "R"\nlevel = 3\n"sales.deal" = { view = "own", win = "own" }\n"party.party" = { view = "all" }',
    )
    write(
        "base/pipelines.toml",
        '[p]\nname = "P"\nstages = [{ key = "a", name = "A" }]\n[q]\nname = "Q"\nstages = [{ key = "a", name = "A" }]',
    )
    write("small/blueprint.toml", HEAD + 'extends = "base"\nwithout = ["pipelines.q"]')
    write("small/roles.toml", '[r]\nlevel = 2\n"sales.deal" = { view = "all" }')
    small = blueprints.load(root, "small")
    assert blueprints.check(small) == []
    role = small.tables["roles"]["r"].values
    assert (role["name"], role["level"]) == ("R", 2)
    assert role["grants"] == {"sales.deal": {"view": "all"}, "party.party": {"view": "all"}}
    assert list(small.tables["stages"]) == ["p.a"]


def test_what_the_gate_refuses_names_the_row(tenant, write):
    root = write("small/blueprint.toml", HEAD)
    write("small/units.csv", "key,code,name\na,a,A\nb,a,B\n")
    with pytest.raises(BlueprintBroken, match="small/units.csv"), transaction.atomic():
        applying.apply(blueprints.load(root, "small"), Actor.system(), "en")


def test_samples_are_a_person_s_job(tenant, actor, owner):
    applied("wholesale")
    tenant.blueprint = "wholesale"
    for kind, deals in (("onboarding.add_samples", 3), ("onboarding.add_samples", 3), ("onboarding.remove_samples", 0)):
        job = queue(actor, kind)
        runner.execute(tenant, job.pk)
        job.refresh_from_db()
        assert (job.state, job.error) == ("done", "")
        assert Deal.objects.filter(owner=owner).count() == deals
    assert job.result == {"stayed": []}


def test_who_may_add_nothing_gets_no_samples(tenant, owner, as_role):
    applied("wholesale")
    tenant.blueprint = "wholesale"
    reader = as_role({"*": {"view": "all"}})
    job = queue(reader, "onboarding.add_samples")
    runner.execute(tenant, job.pk)
    job.refresh_from_db()
    assert job.state == "failed"
    assert not Deal.objects.exists()
