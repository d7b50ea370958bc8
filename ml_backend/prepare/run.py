"""All clips of some folders to motion shards: in parallel, resumable, with a table of what became of each."""

from __future__ import annotations

import csv
import multiprocessing
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, fields
from pathlib import Path

from ml_backend.errors import StageError, UserInputError
from ml_backend.prepare.clip import READY, REJECTED, Outcome, begin_worker, work
from ml_backend.prepare.sources import Source, find_sources
from ml_backend.progress import Progress, silent

TABLE, REJECTIONS, LOG = "clips.csv", "rejected.csv", "prepare.log"
_FIGURE = re.compile(r"(?<![A-Za-z\d])\d+(\.\d+)?(?![A-Za-z\d])")
Worker = Callable[[Source, Path], Outcome]


def find_all(folders: Sequence[Path], *, layout: str = "auto", rights: str = "unclear") -> list[Source]:
    """The clips of all `folders`; where one has an index, the splits are its business and the others only train.

    Raises
    ------
    UserInputError
        If a folder is missing, there is no clip at all, or two clips would have one name.
    """
    indexed = any((folder / "index.csv").exists() for folder in folders)
    found = [source for folder in folders
             for source in find_sources(folder, layout=layout, draw_split=not indexed, rights=rights)]
    if not found:
        raise UserInputError(f"There is no clip in {', '.join(map(str, folders))}; give folders of .mp4 files, or "
                             "recordings of Live Link Face or FACEGOOD.")
    names = Counter(source.name for source in found)
    twice = [source for source in found if names[source.name] > 1]
    if twice:
        raise UserInputError(f"Two clips would be called {twice[0].name} ({twice[0].path} and {twice[1].path}); rename "
                             "one.")
    return found


def prepare_all(sources: Sequence[Source], out: Path, *, workers: int = 0, retry: bool = False,
                worker: Worker = work, progress: Progress = silent) -> list[Outcome]:
    """Make the shards that are missing; ``clips.csv`` says what became of each clip, ``rejected.csv`` why some are not.

    Parameters
    ----------
    sources : from `find_all`
    out : folder of shards
    workers : processes; 0 for one per core, 1 for none beside this one
    retry : whether to look again at clips that were rejected before
    worker : what to do with one clip
    progress : called once a clip

    Returns
    -------
    list of Outcome, in the order of `sources`

    Raises
    ------
    UserInputError
        If nothing can be used.
    StageError
        If a worker dies.
    """
    out.mkdir(parents=True, exist_ok=True)
    before = {} if retry else _rejected_before(out)
    known = {source.name: before[source.name] for source in sources if source.name in before and not source.reason}
    rest = [source for source in sources if source.name not in known]
    done = dict(known)
    progress(len(done), len(sources))
    try:
        for outcome in _outcomes(rest, out, min(workers or os.cpu_count() or 1, max(len(rest), 1)), worker):
            done[outcome.name] = outcome
            progress(len(done), len(sources))
    finally:
        rows = [done[source.name] for source in sources if source.name in done]
        _write(rows, out / TABLE)
        _write([row for row in rows if row.status != READY], out / REJECTIONS)
    return _some_ready(rows, out)


def _some_ready(rows: list[Outcome], out: Path) -> list[Outcome]:
    if any(row.status == READY for row in rows):
        return rows
    reason = Counter(row.reason for row in rows).most_common(1)[0][0]
    raise UserInputError(f"None of the {len(rows)} clips can be used; {out / REJECTIONS} says why, most often: "
                         f"{reason}")


def reasons(rows: Sequence[Outcome]) -> list[tuple[str, int]]:
    """Why clips were not used, and how many; clips' own names and figures are left out, so that like goes with like."""
    found: Counter[str] = Counter()
    for row in rows:
        if row.status != READY:
            text = row.reason.replace(row.clip, "the clip").replace(row.speaker, "…")
            found[_FIGURE.sub("#", text)] += 1
    return found.most_common()


def _outcomes(sources: Sequence[Source], out: Path, workers: int, worker: Worker) -> Iterator[Outcome]:
    if workers <= 1:
        for source in sources:
            yield worker(source, out)
        return
    # Fresh processes: those forked from one in which libraries hold threads may hang.
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), begin_worker, (out / LOG,))
    try:
        tasks: list[Future[Outcome]] = [pool.submit(worker, source, out) for source in sources]
        for task in as_completed(tasks):
            yield task.result()
    except BrokenProcessPool as error:
        raise StageError("A worker died, which a lack of memory does; run the same command with fewer --workers: it "
                         "goes on where it stopped.") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _rejected_before(out: Path) -> dict[str, Outcome]:
    try:
        with open(out / REJECTIONS, newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return {row["name"]: Outcome(row["name"], row["clip"], row["speaker"], row["split"], row["status"],
                                     float(row["seconds"]), float(row["late_ms"]), float(row["sync"]), row["reason"])
                for row in rows if row["status"] == REJECTED}
    except (FileNotFoundError, KeyError, ValueError, TypeError):
        return {}


def _write(rows: Sequence[Outcome], path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [field.name for field in fields(Outcome)])
        writer.writeheader()
        for row in rows:
            writer.writerow({**asdict(row), "seconds": round(row.seconds, 2), "late_ms": round(row.late_ms, 1),
                             "sync": round(row.sync, 3)})
