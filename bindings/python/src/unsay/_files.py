"""Text files that appear whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path
from typing import IO, Iterator, Union


@contextlib.contextmanager
def whole_file(path: Union[str, "os.PathLike[str]"]) -> Iterator[IO[str]]:
    """A file to write text to, which takes the place of `path` at the end, or, if an exception
    leaves the block, vanishes."""
    wanted = Path(path)
    # A name has at most 255 bytes, and mkstemp adds some.
    stem = os.fsdecode(os.fsencode(wanted.name)[:200])
    number, name = tempfile.mkstemp(dir=wanted.parent, prefix=f".{stem}.")
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
