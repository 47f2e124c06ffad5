"""The declaration: what follows from what, and one sentence for each mistake."""

import subprocess
import sys

import pytest

from ostoja.settings.databases import databases
from ostoja.settings.declaration import DeclarationError, load


@pytest.fixture
def declared(tmp_path):
    """``declared(toml, OSTOJA_…=…)`` is the declaration of a file and variables."""

    def read(toml: str = "", **variables: str):
        file = tmp_path / "ostoja.toml"
        file.write_text(toml)
        return load({"OSTOJA_HOME": str(tmp_path / "home"), "OSTOJA_CONFIG": str(file)} | variables)

    return read


def test_nothing_declared_is_a_public_cloud_on_this_machine(declared, tmp_path):
    found = declared()
    assert (found.installation.kind, found.installation.storage, found.installation.signup) == (
        "public",
        "cloud",
        "open",
    )
    assert found.installation.development and not found.installation.https
    assert found.home == tmp_path / "home"
    assert found.celery_url.startswith("redis+socket:///") and found.cache_url.startswith("unix:///")
    assert found.files_root == found.home / "files"


def test_a_private_installation_keeps_to_itself(declared):
    found = declared('[installation]\nkind = "private"\nbase_domain = "crm.acme.pl"').installation
    assert (found.storage, found.signup, found.https, found.development) == ("internal", "closed", True, False)


def test_what_follows_can_be_declared_otherwise(declared):
    found = declared('[installation]\nkind = "private"\nsignup = "open"\ndevelopment = false').installation
    assert (found.signup, found.development) == ("open", False)


def test_variables_win_over_the_file(declared):
    found = declared('[installation]\nname = "File"\nkind = "hybrid"', OSTOJA_INSTALLATION_NAME="Variable")
    assert (found.installation.name, found.installation.kind) == ("Variable", "hybrid")


def test_the_embedded_database_has_two_roles_that_django_and_libpq_understand(declared):
    found = declared()
    assert found.app_dsn.startswith("postgresql://ostoja_app:") and found.owner_dsn.startswith(
        "postgresql://ostoja_owner:"
    )
    django = databases(found)
    assert django["default"]["HOST"] == str(found.postgres.socket_directory())
    assert (django["default"]["NAME"], django["owner"]["USER"]) == ("ostoja", "ostoja_owner")
    assert django["default"]["PASSWORD"] in found.app_dsn


def test_an_external_database_and_broker(declared):
    found = declared(
        OSTOJA_DATABASE_URL="postgresql://app:s%40crm@db.lan:5433/crm?sslmode=require",
        OSTOJA_BROKER_URL="rediss://:word@broker.lan:6380/2",
    )
    assert found.postgres is None and found.valkey is None
    assert found.owner_dsn == found.app_dsn
    assert found.celery_url == found.cache_url == "rediss://:word@broker.lan:6380/2"
    assert databases(found)["default"]["OPTIONS"] == {"sslmode": "require"}


def test_parameters_of_the_embedded_database(declared):
    found = declared('[database.parameters]\nshared_buffers = "1GB"\njit = true\nmax_connections = 50')
    assert {key: found.postgres.parameters[key] for key in ("shared_buffers", "jit", "max_connections")} == {
        "shared_buffers": "1GB",
        "jit": "on",
        "max_connections": "50",
    }
    assert declared(OSTOJA_DATABASE_PARAMETERS='{"work_mem": "1MB"}').postgres.parameters["work_mem"] == "1MB"


@pytest.mark.parametrize(
    ("url", "port", "tls", "ssl"),
    [
        ("smtp://me:p%40ss@mail.lan", 587, True, False),
        ("smtps://me:p%40ss@mail.lan", 465, False, True),
        ("smtp+plain://me:p%40ss@mail.lan:2525", 2525, False, False),
    ],
)
def test_mail_servers(declared, url, port, tls, ssl):
    mail = declared(OSTOJA_MAIL_URL=url).mail
    assert (mail.host, mail.user, mail.password) == ("mail.lan", "me", "p@ss")
    assert (mail.port, mail.tls, mail.ssl) == (port, tls, ssl)


def test_the_secret_key_is_made_once(declared):
    assert len(declared().secret_key) >= 40
    assert declared().secret_key == declared().secret_key


def test_an_extension_by_path_becomes_importable(declared, tmp_path, monkeypatch):
    package = tmp_path / "extensions" / "ext_of_a_test"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('"""An extension."""')
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert declared('extensions = ["extensions/ext_of_a_test", "some.module"]').extensions == [
        "ext_of_a_test",
        "some.module",
    ]
    assert str(package.parent) in sys.path


@pytest.mark.parametrize(
    ("toml", "variables", "sentence"),
    [
        (
            "[installation]\nkindd = 'public'",
            {},
            "ostoja.toml: installation.kindd is no setting of Ostoja; did you mean installation.kind?",
        ),
        ("[databas]\nurl = 'embedded'", {}, "databas is no setting of Ostoja; did you mean database?"),
        ("[installation]\nkind = 'publc'", {}, "installation.kind is “publc”; it can be public, private or hybrid."),
        ("[installation]\nhttps = 'perhaps'", {}, "installation.https is “perhaps”; it can be true or false."),
        (
            "[installation]\nbase_domain = 'https://acme.pl/'",
            {},
            "installation.base_domain must be a host name such as crm.example.com",
        ),
        ("installation = 3", {}, "installation must be a table: write [installation]."),
        ("[database", {}, "ostoja.toml is not TOML"),
        ("home = '/srv'", {}, "home can't be set here: set the variable OSTOJA_HOME, or give --home."),
        ("[database]\nurl = 'mysql://localhost/x'", {}, "database.url must be “embedded” or postgresql://"),
        ("[database]\nowner_url = 'postgresql://a@b/c'", {}, "owner_url stands beside url = “embedded”"),
        ("[files]\nurl = 'ftp://x'", {}, "files.url must be “local:”"),
        ("extensions = ['./nowhere']", {}, "extensions names ./nowhere, and"),
        (
            "",
            {"OSTOJA_DATABSE_URL": "embedded"},
            "The variable OSTOJA_DATABSE_URL is no setting of Ostoja; did you mean OSTOJA_DATABASE_URL?",
        ),
        ("", {"OSTOJA_BROKER_URL": "amqp://x"}, "OSTOJA_BROKER_URL must be “embedded” or redis://"),
        (
            "",
            {"OSTOJA_INSTALLATION_SIGNUP": "maybe"},
            "OSTOJA_INSTALLATION_SIGNUP is “maybe”; it can be open or closed.",
        ),
        ("", {"OSTOJA_DATABASE_PARAMETERS": "jit=off"}, "OSTOJA_DATABASE_PARAMETERS must be JSON"),
        ("", {"OSTOJA_MAIL_URL": "mail.lan"}, "OSTOJA_MAIL_URL must be “development”"),
        ("[outbound]\nhosts = ['sentry.lan']", {}, "outbound.hosts names “sentry.lan”: write each as host:port"),
        ("[outbound]\nhosts = 'sentry.lan:443'", {}, "outbound.hosts must be a list: write hosts = [“…”]."),
        ("", {"OSTOJA_OUTBOUND_HOSTS": "a.lan:443,b.lan:99999"}, "OSTOJA_OUTBOUND_HOSTS names “b.lan:99999”"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_the_key(declared, toml, variables, sentence):
    with pytest.raises(DeclarationError) as refusal:
        declared(toml, **variables)
    assert sentence in refusal.value.message
    assert "\n" not in refusal.value.message


def test_a_file_that_is_named_must_be_there(tmp_path):
    with pytest.raises(DeclarationError, match="and there is no such file"):
        load({"OSTOJA_CONFIG": str(tmp_path / "none.toml")})


def test_reading_it_needs_no_django():
    code = "import sys; import ostoja.settings; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
