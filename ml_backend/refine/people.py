"""Who is seen in which clip: a table beside the clips, since one person may occur in several files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ml_backend.errors import UserInputError

COLUMNS = ("file", "person")


def read_people(path: Path) -> dict[str, str]:
    """Person by name of clip, of a CSV table with the columns file and person.

    A clip goes by its file's name without ending, and with its folder before it (``clips/a.mp4``: "a" and "clips_a", as
    `parley prepare` calls the shards of several folders).

    Raises
    ------
    UserInputError
        If the table can't be read or lacks a column.
    """
    try:
        with open(path, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserInputError(f"{path} can't be read as a table ({error}); give a CSV with file,person.") from error
    if not rows or any(row.get(name) is None for row in rows for name in COLUMNS):
        raise UserInputError(f"{path} has no columns file and person; give a CSV with both.")
    people: dict[str, str] = {}
    for row in rows:
        file = PurePosixPath(row["file"])
        for name in (file.stem, "_".join((*file.parts[:-1], file.stem))):
            people[name] = row["person"]
    return people


def persons(clips: Sequence[str], people: dict[str, str]) -> list[str]:
    """The person of each of `clips`; one the table doesn't name is a person of its own."""
    return [people.get(name, name) for name in clips]
