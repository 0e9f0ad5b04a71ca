"""Files that appear whole or not at all, and whether they can appear."""

import contextlib
import errno
import os
import tempfile
from pathlib import Path
from typing import IO, Iterator, Union

from .errors import Error, IOFailure, NotFoundError


def failed(path: Union[str, Path], error: OSError) -> Error:
    """The refusal of a path that cannot be written to."""
    kind = NotFoundError if error.errno == errno.ENOENT else IOFailure
    return kind(f"{path}: {error.strerror}")


@contextlib.contextmanager
def whole_file(path: Union[str, "os.PathLike[str]"]) -> Iterator[IO[str]]:
    """A file to write text to, which takes the place of `path` at the end, or, if an exception
    leaves the block, vanishes.

    Raises `NotFoundError` or `IOFailure` before the block if `path` cannot be written.
    """
    wanted = Path(path)
    try:
        number, name = _beside(wanted)
    except OSError as error:
        raise failed(wanted, error) from None
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            yield file
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, wanted)
    except BaseException:
        os.unlink(name)
        raise


def _beside(wanted: Path) -> "tuple[int, str]":
    if wanted.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return tempfile.mkstemp(dir=wanted.parent, prefix=_prefix(wanted))


def _prefix(wanted: Path) -> str:
    # A name has at most 255 bytes, and tempfile adds some.
    return f".{os.fsdecode(os.fsencode(wanted.name)[:200])}."


def require_file(path: Path) -> None:
    """Sees to it that a file can be written there, before what takes long; writes nothing.

    Raises `NotFoundError` if the folder that it is to lie in is missing, `IOFailure` if nothing
    can be written there.
    """
    try:
        number, name = _beside(path)
        os.close(number)
        os.unlink(name)
    except OSError as error:
        raise failed(path, error) from None


def require_folder(path: Path) -> None:
    """The same for a folder, which may be there already."""
    try:
        wanted = Path(os.path.realpath(path))
        if wanted.exists() and not wanted.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        os.rmdir(tempfile.mkdtemp(dir=wanted.parent, prefix=_prefix(wanted)))
    except OSError as error:
        raise failed(path, error) from None
