"""The declaration of an installation: ``ostoja.toml``, each key also as an ``OSTOJA_…`` variable, which wins."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ostoja.kernel.errors import OstojaError
from ostoja.kernel.outbound import Place
from ostoja.operations.database import APP, OWNER
from ostoja.operations.embedded.broker import EmbeddedBroker
from ostoja.operations.embedded.postgres import EmbeddedPostgres
from ostoja.operations.installation import home_of
from ostoja.operations.secrets import secret

PREFIX = "OSTOJA_"
NOT_DECLARED_HERE = ("OSTOJA_HOME", "OSTOJA_CONFIG", "OSTOJA_TEST_", "OSTOJA_UP_PORT")
EMBEDDED = "embedded"
LISTS = ("extensions", "outbound.hosts")
A_PLACE = re.compile(r"([a-z0-9.-]+|\[[0-9a-f:.]+\]):(\d{1,5}|\*)")


class DeclarationError(OstojaError):
    """``ostoja.toml`` or an ``OSTOJA_…`` variable says something that can't be; the message names the key."""

    code = "bad_declaration"
    status = 500


class Section(BaseModel):
    """A table of the declaration; an unknown key is an error, never ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Installation(Section):
    """``[installation]``: what runs here. What is left out follows from ``kind`` and ``base_domain``."""

    kind: Literal["public", "private", "hybrid"] = "public"
    name: str = "Ostoja"
    base_domain: str = "localhost"
    port: int = Field(
        default=0, ge=0, le=65535
    )  # in links, when browsers need one; 0: the usual, or that of `ostoja up`
    storage: Literal["cloud", "internal"] = "cloud"
    signup: Literal["open", "closed"] = "open"
    https: bool = False
    development: bool = True

    @model_validator(mode="before")
    @classmethod
    def _what_follows(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        private = given.get("kind") == "private"
        local = str(given.get("base_domain", "localhost")).split(":")[0].rpartition(".")[2] == "localhost"
        follows = {
            "storage": "internal" if private else "cloud",
            "signup": "closed" if private else "open",
            "https": not local,
            "development": local,
        }
        return follows | given

    @field_validator("base_domain")
    @classmethod
    def _is_a_domain(cls, value: str) -> str:
        domain = value.strip().strip(".").lower()
        labels = domain.split(".")
        if not domain or any(not label.replace("-", "").isalnum() or len(label) > 63 for label in labels):
            raise ValueError("must be a host name such as crm.example.com, without https:// and without a port")
        return domain


class Database(Section):
    """``[database]``: ``embedded``, or ``url`` for requests and ``owner_url`` for migrations and new tenants."""

    url: str = EMBEDDED
    owner_url: str = ""
    parameters: dict[str, str | int | bool] = Field(default_factory=dict)

    @field_validator("url", "owner_url")
    @classmethod
    def _is_postgres(cls, value: str) -> str:
        if value in ("", EMBEDDED):
            return value
        parts = urlsplit(value)
        if parts.scheme not in ("postgresql", "postgres") or not parts.path.strip("/") or not parts.username:
            raise ValueError("must be “embedded” or postgresql://user:password@host:5432/database")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Database:
        if self.embedded and self.owner_url:
            raise ValueError("owner_url stands beside url = “embedded”: name a url as well, or leave owner_url out")
        if self.parameters and not self.embedded:
            raise ValueError("parameters are for url = “embedded”: set them in your own server's postgresql.conf")
        return self

    @property
    def embedded(self) -> bool:
        """Whether Ostoja brings PostgreSQL along."""
        return self.url in ("", EMBEDDED)


class Broker(Section):
    """``[broker]``: ``embedded``, or the URL of a Redis or Valkey."""

    url: str = EMBEDDED

    @field_validator("url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        if value not in ("", EMBEDDED) and urlsplit(value).scheme not in ("redis", "rediss"):
            raise ValueError("must be “embedded” or redis://:password@host:6379/0 (rediss:// with TLS)")
        return value

    @property
    def embedded(self) -> bool:
        """Whether Ostoja brings the broker along."""
        return self.url in ("", EMBEDDED)


class Files(Section):
    """``[files]``: where uploaded files are kept: ``local:`` in the home, or ``local:/a/path``."""

    url: str = "local:"

    @field_validator("url")
    @classmethod
    def _is_local(cls, value: str) -> str:
        if not value.startswith("local:"):
            raise ValueError("must be “local:” (in OSTOJA_HOME) or “local:/an/absolute/path”")
        return value


class Mail(Section):
    """``[mail]``: ``development`` keeps mail in ``$OSTOJA_HOME/mail``; ``smtp://user:password@host:587`` sends it."""

    url: str = "development"
    sender: str = "Ostoja <no-reply@localhost>"

    @field_validator("url")
    @classmethod
    def _is_mail(cls, value: str) -> str:
        parts = urlsplit(value)
        if value != "development" and not (parts.scheme in ("smtp", "smtps", "smtp+plain") and parts.hostname):
            raise ValueError(
                "must be “development”, smtp://user:password@host:587 (STARTTLS), smtps://…:465, or smtp+plain://… inside your network"
            )
        return value

    @property
    def development(self) -> bool:
        """Whether mail is only kept, not sent."""
        return self.url == "development"

    @property
    def backend(self) -> str:
        """Django's backend."""
        return "ostoja.access.mail.Kept" if self.development else "django.core.mail.backends.smtp.EmailBackend"

    @property
    def host(self) -> str:
        """The mail server."""
        return "" if self.development else urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The mail server's port."""
        parts = urlsplit(self.url)
        return parts.port or {"smtps": 465, "smtp+plain": 25}.get(parts.scheme, 587)

    @property
    def user(self) -> str:
        """Who signs in there."""
        return unquote(urlsplit(self.url).username or "")

    @property
    def password(self) -> str:
        """With which password."""
        return unquote(urlsplit(self.url).password or "")

    @property
    def tls(self) -> bool:
        """STARTTLS."""
        return urlsplit(self.url).scheme == "smtp"

    @property
    def ssl(self) -> bool:
        """TLS from the first byte."""
        return urlsplit(self.url).scheme == "smtps"


class Outbound(Section):
    """``[outbound]``: what programs of this installation may connect to beside its own services, each as ``host:port``."""

    hosts: list[str] = Field(default_factory=list)

    @field_validator("hosts")
    @classmethod
    def _are_places(cls, value: list[str]) -> list[str]:
        places = [place.strip().lower() for place in value]
        for place in places:
            found = A_PLACE.fullmatch(place)
            if not found or (found[2] != "*" and not 0 < int(found[2]) < 65536):
                raise ValueError(f"names “{place}”: write each as host:port, such as sentry.company.lan:443")
        return places

    @property
    def places(self) -> frozenset[Place]:
        """The hosts and their ports as the way out knows them."""
        parts = [A_PLACE.fullmatch(place) for place in self.hosts]
        return frozenset((p[1].strip("[]"), None if p[2] == "*" else int(p[2])) for p in parts if p)


class Declaration(Section):
    """Everything that is declared, and what follows from it."""

    home: Path
    installation: Installation = Field(default_factory=Installation)
    database: Database = Field(default_factory=Database)
    broker: Broker = Field(default_factory=Broker)
    files: Files = Field(default_factory=Files)
    mail: Mail = Field(default_factory=Mail)
    outbound: Outbound = Field(default_factory=Outbound)
    extensions: list[str] = Field(default_factory=list)

    @cached_property
    def postgres(self) -> EmbeddedPostgres | None:
        """The embedded PostgreSQL, or None where the database is somebody else's."""
        if not self.database.embedded:
            return None
        return EmbeddedPostgres(self.home, {key: _spelled(value) for key, value in self.database.parameters.items()})

    @cached_property
    def valkey(self) -> EmbeddedBroker | None:
        """The embedded broker, or None where the broker is somebody else's."""
        return EmbeddedBroker(self.home) if self.broker.embedded else None

    @property
    def app_dsn(self) -> str:
        """The database as the application logs in."""
        return self.postgres.dsn(APP) if self.postgres else self.database.url

    @property
    def owner_dsn(self) -> str:
        """The database as the owner of all schemas logs in."""
        return self.postgres.dsn(OWNER) if self.postgres else self.database.owner_url or self.database.url

    @property
    def celery_url(self) -> str:
        """The broker as Celery names it."""
        return self.valkey.url if self.valkey else self.broker.url

    @property
    def cache_url(self) -> str:
        """The cache as redis-py names it: database 1 of the embedded broker, the same database of another."""
        return self.valkey.redis_database(1) if self.valkey else self.broker.url

    @property
    def files_root(self) -> Path:
        """Where uploaded files are."""
        return Path(self.files.url.removeprefix("local:") or self.home / "files")

    @cached_property
    def secret_key(self) -> str:
        """The key that signs; made once, kept in ``$OSTOJA_HOME/secrets``."""
        return secret(self.home, "secret_key")

    @cached_property
    def setup_code(self) -> str:
        """What the code is made of that the first visitor of a private installation must know."""
        return secret(self.home, "setup_code")


def load(environment: Mapping[str, str] | None = None) -> Declaration:
    """Read the declaration. Raises DeclarationError in one sentence that names the key.

    The file is ``$OSTOJA_CONFIG``, else ``./ostoja.toml``, else ``$OSTOJA_HOME/ostoja.toml``, else everything is default.
    """
    environment = os.environ if environment is None else environment
    home = home_of(environment)
    file, declared = _read_file(environment, home)
    if "home" in declared:
        raise DeclarationError(f"{file}: home can't be set here: set the variable OSTOJA_HOME, or give --home.")
    sources: dict[str, str] = {}
    for variable, value in environment.items():
        if variable.startswith(PREFIX) and not variable.startswith(NOT_DECLARED_HERE):
            key = _key_of(variable)
            section, _, name = key.partition(".")
            value = _parsed(key, value, variable)
            if name:
                if not isinstance(declared.setdefault(section, {}), dict):
                    raise DeclarationError(f"{file}: {section} must be a table: write [{section}].")
                declared[section][name] = value
            else:
                declared[section] = value
            sources[key] = variable
    try:
        declaration = Declaration(home=home, **declared)
    except ValidationError as error:
        raise DeclarationError(_sentence(error, sources, str(file))) from None
    modules = [_importable(extension, file) for extension in declaration.extensions]
    return declaration.model_copy(update={"extensions": modules})


def _read_file(environment: Mapping[str, str], home: Path) -> tuple[Path, dict[str, Any]]:
    named = environment.get("OSTOJA_CONFIG")
    candidates = [Path(named).expanduser()] if named else [Path("ostoja.toml"), home / "ostoja.toml"]
    for path in candidates:
        try:
            return path, tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if named:
                raise DeclarationError(f"OSTOJA_CONFIG names {path}, and there is no such file.") from None
        except OSError as error:
            raise DeclarationError(f"{path} can't be read: {error.strerror}.") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DeclarationError(f"{path} is not TOML: {error}.") from None
    return Path("ostoja.toml"), {}


def _keys() -> dict[str, Any]:
    """All keys: ``database.url`` and its type."""
    found: dict[str, Any] = {"extensions": list}
    for section, field in Declaration.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            found |= {f"{section}.{name}": inner.annotation for name, inner in field.annotation.model_fields.items()}
    return found


def _variable_of(key: str) -> str:
    return PREFIX + key.replace(".", "_").upper()


def _key_of(variable: str) -> str:
    variables = {_variable_of(key): key for key in _keys()}
    if variable not in variables:
        raise DeclarationError(f"The variable {variable} is no setting of Ostoja{_guess(variable, variables)}")
    return variables[variable]


def _parsed(key: str, value: str, variable: str) -> Any:
    """Lists are written with commas, tables as JSON, all else as it is."""
    if key in LISTS:
        return [part.strip() for part in value.split(",") if part.strip()]
    if key == "database.parameters":
        try:
            return json.loads(value)
        except ValueError:
            raise DeclarationError(f'{variable} must be JSON such as {{"shared_buffers": "1GB"}}.') from None
    return value


def _sentence(error: ValidationError, sources: Mapping[str, str], file: str) -> str:
    """The first thing that is wrong, in words."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
    place = sources[key] if key in sources else f"{file}: {key}"
    given = first.get("input")
    match first["type"]:
        case "extra_forbidden":
            return f"{file}: {key} is no setting of Ostoja{_guess(key, [*Declaration.model_fields, *_keys()])}"
        case "literal_error":
            return f"{place} is “{given}”; it can be {first['ctx']['expected'].replace(chr(39), '')}."
        case "value_error":
            return f"{place} {first['ctx']['error']}."
        case "bool_parsing" | "bool_type":
            return f"{place} is “{given}”; it can be true or false."
        case "list_type":
            return f"{place} must be a list: write {key.rpartition('.')[2]} = [“…”]."
        case "model_type" | "dict_type":
            return f"{file}: {key} must be a table: write [{key}]."
    return f"{place}: {first['msg'].removeprefix('Input ')}."


def _guess(word: str, known: Iterable[str]) -> str:
    """The end of the sentence: what the word was probably meant to be."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else "."


def _importable(extension: str, file: Path) -> str:
    """The module name of an extension; a path (relative to ``ostoja.toml``) is made importable."""
    if "/" not in extension:
        return extension
    path = (file.absolute().parent / Path(extension).expanduser()).resolve()
    if not (path / "__init__.py").is_file():
        raise DeclarationError(f"extensions names {extension}, and {path} is no Python package.")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    return path.name


def _spelled(value: str | int | bool) -> str:
    """A value as PostgreSQL's command line wants it."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value)
