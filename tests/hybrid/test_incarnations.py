"""Restored and copied sites: a new incarnation hears what the backup forgot, an older copy falls silent, graves are forgotten in time."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test import Client
from test_database import fill
from two_sites import SYSTEM, Pair, do, value

from ostoja.crm.sales.models import Deal
from ostoja.hybrid import burying, health, labels, renewing, verifying
from ostoja.hybrid.exchange import Retired
from ostoja.hybrid.models import Clock, Link, Site
from ostoja.party.models import Party
from ostoja.tenancy import hosts
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import host_of

KEPT = ("hybrid_%", "party_%", "sales_%", "planning_%", "documents_%", "journal_%", "catalog_%", "access_%")


class Backup:
    """A copy of what a tenant's tables hold, and the way back to it."""

    def __init__(self, tenant):
        self.tenant, self.rows = tenant, {}
        with tenant_context(tenant), connection.cursor() as cursor:
            cursor.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE ANY(%s)",
                [list(KEPT)],
            )
            for (name,) in cursor.fetchall():
                cursor.execute(f"SELECT coalesce(jsonb_agg(to_jsonb(t)), '[]')::text FROM \"{name}\" t")
                self.rows[name] = cursor.fetchone()[0]

    def restore(self):
        """The tables as they were, by the owner of the schema, as a restored dump would be."""
        from django.db import connections, transaction

        from ostoja.tenancy.context import schema_context

        with schema_context(self.tenant.schema_name), transaction.atomic(using="owner"):
            with connections["owner"].cursor() as cursor:
                for name in self.rows:
                    cursor.execute(f'ALTER TABLE "{name}" DISABLE TRIGGER USER')
                cursor.execute("SET CONSTRAINTS ALL DEFERRED")
                for name in self.rows:
                    cursor.execute(f'DELETE FROM "{name}"')
                for name, rows in self.rows.items():
                    cursor.execute(
                        f'INSERT INTO "{name}" SELECT * FROM jsonb_populate_recordset(NULL::"{name}", %s::jsonb)',
                        [rows],
                    )
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                for name in self.rows:
                    cursor.execute(f'ALTER TABLE "{name}" ENABLE TRIGGER USER')


@pytest.fixture
def pair(lender):
    """A cloud with a customer and a deal, and premises that have loaded it."""
    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    deal = do(cloud, Deal, "add", {"title": "Hundred chairs", "party": party.pk, "amount": "100.00"})
    made = Pair(cloud, premises)
    made.party, made.deal = party, deal
    made.load()
    made.talk()
    return made


def differing(pair):
    def ask(question):
        with tenant_context(pair.cloud):
            return verifying.answer(pair.exchange(pair.cloud), question)

    with tenant_context(pair.premises):
        return verifying.compare(pair.exchange(pair.premises), ask)


def renewed(tenant):
    with tenant_context(tenant):
        return renewing.renew(SYSTEM)


@pytest.mark.parametrize("side", ["cloud", "premises"])
def test_a_restored_site_hears_what_its_backup_forgot(pair, side):
    tenant = getattr(pair, side)
    backup = Backup(tenant)
    do(pair.cloud, pair.deal, data={"title": "After the backup, in the cloud"})
    do(pair.premises, pair.party, data={"name": "After the backup, on the premises"})
    later = do(pair.premises, Deal, "add", {"title": "Later", "party": pair.party.pk, "amount": "3"})
    pair.talk()
    backup.restore()
    assert value(tenant, pair.deal, "title") == "Hundred chairs"
    renewed(tenant)
    pair.talk(rounds=12)
    for place in (pair.cloud, pair.premises):
        assert value(place, pair.deal, "title") == "After the backup, in the cloud"
        assert value(place, pair.party, "name") == "After the backup, on the premises"
        assert value(place, later, "title") == "Later"
    assert differing(pair) == []
    with tenant_context(tenant):
        assert not Site.objects.get(here=True).restored


@pytest.mark.parametrize("side", ["cloud", "premises"])
def test_the_other_site_does_not_wait_for_what_the_backup_forgot(pair, side):
    tenant, other = (pair.cloud, pair.premises) if side == "cloud" else (pair.premises, pair.cloud)
    backup = Backup(tenant)
    for number in range(60):  # more than the restored site will say anew
        do(tenant, pair.deal, data={"title": f"Title {number}"})
    pair.talk()
    backup.restore()
    renewed(tenant)
    pair.talk(rounds=12)
    with tenant_context(other):
        there = health.health_of(Link.objects.select_related("site", "progress").get())
        assert (there.to_take.changes, there.to_send.changes) == (0, 0)


def test_nobody_works_at_a_restored_cloud_before_it_knows_what_was_called_back(pair):
    backup = Backup(pair.cloud)
    with tenant_context(pair.premises):
        labels.close(SYSTEM, Party.objects.get(pk=pair.party.pk))
    pair.talk()
    backup.restore()
    assert value(pair.cloud, pair.party, "name") == "Acme"
    renewed(pair.cloud)
    hosts.forget()
    refused = Client().get("/", HTTP_HOST=host_of(pair.cloud))
    assert refused.status_code == 503
    pair.talk(rounds=12)
    hosts.forget()
    assert Client().get("/", HTTP_HOST=host_of(pair.cloud)).status_code != 503
    with tenant_context(pair.cloud):
        assert not Party.objects.filter(pk=pair.party.pk).exists()
        assert Clock.objects.get(pk=pair.party.pk).withheld


def test_a_label_that_a_restored_backup_of_the_premises_forgot_stays_closed(pair):
    backup = Backup(pair.premises)
    with tenant_context(pair.premises):
        labels.close(SYSTEM, Party.objects.get(pk=pair.party.pk))
    pair.talk()
    backup.restore()
    renewed(pair.premises)
    pair.talk(rounds=12)
    with tenant_context(pair.cloud):
        assert not Party.objects.filter(pk=pair.party.pk).exists()
    assert value(pair.premises, pair.party, "name") == "Acme"
    assert differing(pair) == []


def test_what_restored_premises_open_again_comes_back_to_the_cloud(pair):
    with tenant_context(pair.premises):
        labels.close(SYSTEM, Deal.objects.get(pk=pair.deal.pk))
    pair.talk()
    backup = Backup(pair.premises)
    backup.restore()
    renewed(pair.premises)
    pair.talk(rounds=12)
    with tenant_context(pair.cloud):
        assert not Deal.objects.filter(pk=pair.deal.pk).exists()
    with tenant_context(pair.premises):
        labels.reopen(SYSTEM, Deal.objects.get(pk=pair.deal.pk))
    pair.talk()
    assert value(pair.cloud, pair.deal, "title") == "Hundred chairs"
    assert differing(pair) == []


def test_a_restored_copy_that_does_not_say_so_falls_silent(pair):
    backup = Backup(pair.premises)
    do(pair.premises, pair.deal, data={"title": "Numbered after the backup"})
    pair.talk()
    backup.restore()
    with pytest.raises(Retired):
        pair.talk()
    with tenant_context(pair.premises):
        assert Site.objects.get(here=True).retired
    with tenant_context(pair.premises), pytest.raises(Retired):
        pair.exchange(pair.premises).outgoing()
    renewed(pair.premises)
    pair.talk(rounds=12)
    assert value(pair.premises, pair.deal, "title") == "Numbered after the backup"


def test_of_two_copies_the_older_incarnation_falls_silent(pair):
    backup = Backup(pair.premises)
    renewed(pair.premises)
    pair.talk(rounds=12)
    backup.restore()  # the copy that was never renewed speaks now
    with pytest.raises(Retired):
        pair.talk()
    with tenant_context(pair.premises):
        assert Site.objects.get(here=True).retired


def test_graves_go_when_everybody_knows_of_the_death_and_not_before(pair):
    do(pair.premises, pair.deal, "delete")
    with tenant_context(pair.premises):
        assert burying.collect(age_days=0) == 0
    pair.talk()
    do(pair.cloud, pair.party, data={"city": "Gdynia"})
    pair.talk()
    pair.talk()
    with tenant_context(pair.premises):
        assert burying.collect() == 0  # not for half a year
        assert burying.collect(age_days=0) == 1
        assert not Clock.objects.filter(pk=pair.deal.pk).exists()
