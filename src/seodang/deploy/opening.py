"""Opening a trained network by whatever names it: a bundle, an exported file, or an address of published weights."""

from __future__ import annotations

from pathlib import Path

from seodang.core.files import make_folders
from seodang.data.download import Official, bundle_folder, find_path
from seodang.deploy.exported import exported_file, read_exported
from seodang.deploy.importing import import_weights
from seodang.models.bundle import SETTINGS, WEIGHTS, Bundle
from seodang.models.published import PUBLISHED


def read_bundle(path: Path) -> Bundle | None:
    """Return what is at `path` as a bundle; None if it is none of these, and perhaps a run.

    Published weights are imported once, into the cache. They are fetched only if the user agrees, as data is.
    Raises: WeightsError; DataError if published weights are not here and may not be fetched.
    """
    if (path / WEIGHTS).is_file() and (path / SETTINGS).is_file():
        return Bundle.read(path)
    if (exported := exported_file(path)) is not None:
        return read_exported(exported)
    if (path / SETTINGS).is_file():
        return Bundle.read(path)  # which says what is missing
    if str(path) in PUBLISHED and not path.exists():
        return Bundle.read(published_bundle(str(path)))
    return None


def published_weights(address: str) -> Path:
    """Return where the official file of an address is, verified; it is fetched if it is not here and the user agrees.

    Raises: DataError
    """
    official = PUBLISHED[address]
    return find_path(address, Official(official.name, official.url, official.most_bytes, official.sha256))


def published_bundle(address: str) -> Path:
    """Return the folder of the bundle made from the official file of an address.

    Raises: DataError
    """
    folder = bundle_folder(address)
    if not (folder / SETTINGS).is_file():
        weights = published_weights(address)
        make_folders(folder.parent)
        import_weights(weights, address, folder, {})
    return folder
