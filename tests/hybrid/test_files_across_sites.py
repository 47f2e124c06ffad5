"""Bytes of files across sites: up to the premises and gone from the cloud; both ways when open; in chunks that may break."""

import hashlib
import io

import pytest
from django.core.files.storage import default_storage
from two_sites import SYSTEM, Pair

from ostoja.access.actor_of import actor_of
from ostoja.documents import files as documents
from ostoja.documents.models import PartyFile
from ostoja.gate import perform
from ostoja.hybrid import adopting, carrying, files, policing, reaching, withdrawing
from ostoja.hybrid.models import Link, Parcel, Site
from ostoja.kernel import registry
from ostoja.kernel.errors import Refused
from ostoja.tenancy.context import tenant_context
from ostoja.testing.people import make_user

CONTENT = b"Umowa ramowa\n" * 700_000  # three chunks


def model(label):
    return registry.get(label).model


class Line:
    """Stands in for a caller: what is carried is answered by the cloud, in its tenant; ``cut`` breaks the line after so many."""

    def __init__(self, pair):
        self.pair, self.cut, self.heads = pair, None, []
        with tenant_context(pair.premises):
            self.exchange = pair.exchange(pair.premises)
            self.link = self.exchange.link

    def carry(self, head, content=b""):
        if self.cut is not None:
            self.cut -= 1
            if self.cut < 0:
                raise ConnectionError
        head, content = carrying.unpacked(carrying.packed(head, content))
        self.heads.append(head)
        assert len(content) <= carrying.CHUNK
        with tenant_context(self.pair.cloud):
            link = Link.objects.select_related("site").get()
            said = carrying.packed(*files.answer(link, head, content))
        return carrying.unpacked(said)


@pytest.fixture
def sites(tenant, other_tenant):
    party = perform(SYSTEM, model("party.party"), "add", {"name": "Stalmet", "kind": "org"})
    attached = [attach(party, name) for name in ("umowa.txt", "oferta.txt")]
    pair = Pair(tenant, other_tenant)
    pair.load()
    pair.party, pair.attached = party, attached
    return pair


def attach(party, name, content=CONTENT):
    upload = io.BytesIO(content + name.encode())
    return documents.store(SYSTEM, type(party).objects.get(pk=party.pk), upload, name)


def work(pair, carrier):
    """Let the premises carry until there is nothing left to do."""
    with tenant_context(pair.premises):
        for _round in range(60):
            carrier.looked = dict.fromkeys(carrier.looked, 0.0)
            if not carrier.work():
                return
    raise AssertionError("The carrier does not come to rest.")


def content_there(pair, record):
    with tenant_context(pair.premises):
        _attachment, stream = documents.open_file(SYSTEM, type(record), record.pk)
        with stream:
            return stream.read()


def test_files_of_the_cloud_go_up_and_are_gone_from_it(sites):
    keys = [a.key for a in sites.attached]
    files.withdraw()
    withdrawing.withdraw()
    assert not PartyFile.objects.exists()
    assert all(default_storage.exists(k) for k in keys)  # the premises do not have them yet
    assert list(documents.orphans()) == []
    work(sites, files.Carrier(Line(sites)))
    for record in sites.attached:
        assert content_there(sites, record) == CONTENT + record.name.encode()
    assert not any(default_storage.exists(k) for k in keys)
    assert not Parcel.objects.exists()


def test_a_broken_line_goes_on_where_it_was(sites):
    line = Line(sites)
    carrier = files.Carrier(line)
    line.cut = 2
    with tenant_context(sites.premises), pytest.raises(ConnectionError):
        while True:
            carrier.work()
    with tenant_context(sites.premises):
        assert files.Part(sites.attached[0].pk).size == 2 * carrying.CHUNK
    line.cut = None
    work(sites, files.Carrier(line))
    assert content_there(sites, sites.attached[0]) == CONTENT + b"umowa.txt"
    asked = [h["offset"] for h in line.heads if h["ask"] == "get" and h["id"] == str(sites.attached[0].pk)]
    assert asked == [0, carrying.CHUNK, 2 * carrying.CHUNK]


def test_bytes_that_are_not_the_right_ones_are_thrown_away(sites):
    record = sites.attached[0]
    with tenant_context(sites.premises):
        part = files.Part(record.pk)
        part.add(0, b"x" * record.size)
        link = Link.objects.select_related("site").get()
        assert part.finish(PartyFile, record.pk, link) is False
        assert part.size == 0
        assert PartyFile.objects.get(pk=record.pk).key == ""


def test_a_file_on_its_way_says_so(sites):
    with tenant_context(sites.premises):
        with pytest.raises(Exception, match="on its way"):
            documents.open_file(SYSTEM, PartyFile, sites.attached[0].pk)


def test_nothing_new_of_a_file_is_taken_by_the_cloud(sites):
    files.withdraw()
    withdrawing.withdraw()
    with pytest.raises(Refused):
        attach(sites.party, "nowy.txt", b"abc")
    with tenant_context(sites.premises):
        made = attach(sites.party, "tajny.txt", b"abc")
    sites.talk()
    work(sites, files.Carrier(Line(sites)))
    assert not PartyFile.objects.filter(pk=made.pk).exists()


@pytest.fixture
def open_files(sites):
    """The tenant opens names, sizes, types and digests of files of parties, by two people."""
    with tenant_context(sites.premises):
        one, two = (make_user(n, owner=True, email=f"{n}@example.com") for n in ("anna", "jan"))
        for name in ("name", "size", "mime", "sha256"):
            rule = policing.propose(actor_of(one), "field", f"documents.partyfile.{name}", 0)
            policing.approve(actor_of(two), rule)
        adopting.adopt()
    sites.talk()
    withdrawing.withdraw()
    sites.talk()
    return sites


def test_open_files_travel_both_ways(open_files):
    pair = open_files
    line = Line(pair)
    work(pair, files.Carrier(line))
    made = attach(pair.party, "z-chmury.txt")
    with tenant_context(pair.premises):
        theirs = attach(pair.party, "z-siedziby.txt")
    pair.talk()
    work(pair, files.Carrier(Line(pair)))
    assert content_there(pair, made) == CONTENT + b"z-chmury.txt"
    here = PartyFile.objects.get(pk=theirs.pk)
    with default_storage.open(here.key, "rb") as stream:
        assert hashlib.file_digest(stream, "sha256").hexdigest() == theirs.sha256
    assert not [h for h in line.heads if "sha256" in h]  # nobody is asked for certain bytes


def test_bytes_of_a_purged_record_go_with_it(open_files):
    pair = open_files
    keys = [attach(pair.party, name).key for name in ("raz.txt", "dwa.txt")]
    pair.talk()
    work(pair, files.Carrier(Line(pair)))
    late = attach(pair.party, "pozny.txt")  # the premises do not have it yet
    assert files.forget([pair.party.pk]) == 5  # with the two that came back when files were opened
    assert not any(default_storage.exists(k) for k in keys)
    assert default_storage.exists(late.key)
    assert set(files.waiting()) == {late.key}


def test_a_site_that_may_not_hold_it_is_given_nothing_that_left(sites):
    files.withdraw()
    withdrawing.withdraw()
    link = Link.objects.select_related("site").get()
    link.site.ceiling = 0
    record = sites.attached[0]
    said, content = files.answer(
        link, {"ask": "get", "model": "documents.partyfile", "id": str(record.pk), "offset": 0}, b""
    )
    assert (said, content) == ({"found": False}, b"")
    assert files.answer(link, {"ask": "left"}, b"")[0] == {"files": []}


def test_the_address_travels_with_the_files(sites):
    carrier = files.Carrier(Line(sites))
    with tenant_context(sites.premises):
        reaching.set_address(SYSTEM, "https://office.example.com/")
    work(sites, carrier)
    assert Site.objects.get(here=False).browser_url == "https://office.example.com"
