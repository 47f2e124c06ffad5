"""An extension's tests are collected only in a session that loads the extension (``OSTOJA_TEST_EXTENSIONS``)."""

from pathlib import Path

from django.apps import apps

HERE = Path(__file__).parent


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out the folders of extensions that are not loaded."""
    inside = collection_path.relative_to(HERE).parts
    loaded = {config.module.__name__ for config in apps.get_app_configs()}
    return True if inside and (HERE / inside[0]).is_dir() and inside[0] not in loaded else None
