"""Read a large JSON object piece by piece."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from deal_yolo.errors import DatasetError

CHUNK = 1 << 20
# A single item above this is a broken file, not a label.
LARGEST = 1 << 26
SPACE = " \t\r\n\ufeff"


def iter_members(path: Path) -> Iterator[tuple[str, int, Any]]:
    """Key, number and value of what stands in the top-level object of a JSON file.

    A member that is an array gives its items one by one, numbered from 1; others have number 0.
    Only about one item and a chunk of the file are in memory.

    Raises:
        DatasetError: the file cannot be read or is not such a JSON object.
    """
    try:
        with path.open(encoding="utf-8") as file:
            yield from _Reader(file, path).members()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"cannot read {path}: {error}") from error


class _Reader:
    def __init__(self, file: TextIO, path: Path) -> None:
        self._file, self._path = file, path
        self._text, self._at, self._passed, self._end = "", 0, 0, False
        self._decoder = json.JSONDecoder()

    def members(self) -> Iterator[tuple[str, int, Any]]:
        self._expect("{")
        if self._peek() == "}":
            return self._finish()
        while True:
            key = self._value()
            if not isinstance(key, str):
                raise self._wrong("a key in quotes is expected")
            self._expect(":")
            if self._peek() == "[":
                yield from self._items(key)
            else:
                yield key, 0, self._value()
            if self._expect(",}") == "}":
                return self._finish()

    def _items(self, key: str) -> Iterator[tuple[str, int, Any]]:
        self._expect("[")
        if self._peek() == "]":
            self._expect("]")
            return
        number = 0
        while True:
            number += 1
            yield key, number, self._value()
            if self._expect(",]") == "]":
                return

    def _finish(self) -> None:
        if self._peek() == "}":
            self._expect("}")
        if self._peek():
            raise self._wrong("there is more after the end")

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except (json.JSONDecodeError, RecursionError) as error:
                if isinstance(error, RecursionError) or not self._more():
                    raise self._wrong("not valid JSON, or cut short") from error
                continue
            # A number at the end of what is read may go on in the next chunk.
            if end == len(self._text) and self._more():
                continue
            self._at = end
            return value

    def _peek(self) -> str:
        while True:
            while self._at < len(self._text) and self._text[self._at] in SPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _expect(self, characters: str) -> str:
        found = self._peek()
        if not found or found not in characters:
            raise self._wrong(f"'{found or 'end of file'}' where one of '{characters}' is expected")
        self._at += 1
        return found

    def _more(self) -> bool:
        if self._end or len(self._text) - self._at > LARGEST:
            return False
        # As much again as is held, so that a long item is not read over many times.
        chunk = self._file.read(max(CHUNK, len(self._text) - self._at))
        self._passed += self._at
        self._text, self._at = self._text[self._at :] + chunk, 0
        self._end = not chunk
        return bool(chunk)

    def _wrong(self, why: str) -> DatasetError:
        place = self._passed + self._at
        return DatasetError(f"{self._path}, character {place}: {why}")
