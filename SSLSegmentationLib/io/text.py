"""Text files from elsewhere, which may be anything."""

from __future__ import annotations

from pathlib import Path

from SSLSegmentationLib.errors import InputError

_MOST = 8 * 2**20


def text_of(path: Path, where: str, advice: str) -> str:
    """A file in UTF-8 of at most 8 MiB; what is wrong with another is said of `where`, with the advice."""
    try:
        if path.stat().st_size > _MOST:
            raise InputError(f"{where} is larger than {_MOST // 2**20} MB, too much for such a file: {advice}")
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{where} is not a text file in UTF-8: {advice}") from None
    except OSError as error:
        raise InputError(f"{where} cannot be read ({error.strerror}): {advice}") from None
