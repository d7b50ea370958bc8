"""*Set up backend*: which commands make the virtual environment, and their run, watched without waiting."""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from .errors import UserInputError
from .worker_client import clean_environment

TORCH = "torch==2.13.0"
PYTORCH_ADDRESS = "https://download.pytorch.org/whl/"
INDEXES = {"cpu": f"{PYTORCH_ADDRESS}cpu", "cuda": f"{PYTORCH_ADDRESS}cu130"}
ADDRESSES = ("pypi.org", "files.pythonhosted.org", "download.pytorch.org")
"""What the commands contact, to be named before they run."""
OLDEST, NEWEST = (3, 11), (3, 12)
"""Versions of Python for which all packages are made."""
LAST_LINES = 200


@dataclass(frozen=True)
class Plan:
    """The steps: a title and a command each."""

    steps: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def text(self) -> str:
        """The commands as a person would type them."""
        return "\n".join(" ".join(f'"{word}"' if " " in word else word for word in command)
                         for _, command in self.steps)


def plan(base: Path | str, folder: Path, interpreter: Path, source: Path | str, device: str) -> Plan:
    """The commands that make an environment at `folder` with what the backend needs.

    Parameters
    ----------
    base : Python that makes the environment
    interpreter : the environment's own Python
    source : folder or wheel of Parley
    device : "cpu" or "cuda"
    """
    pip = (str(interpreter), "-m", "pip", "--disable-pip-version-check", "--no-input", "install")
    return Plan((("Making the environment", (str(base), "-m", "venv", "--clear", str(folder))),
                 ("Installing PyTorch", (*pip, TORCH, "--index-url", INDEXES[device])),
                 ("Installing Parley", (*pip, str(source)))))


def version_of(python: Path | str) -> tuple[int, int]:
    """(major, minor) of the interpreter `python`; raises `UserInputError` if it is none. Takes some milliseconds."""
    try:
        done = subprocess.run([str(python), "-c", "import sys; print(sys.version_info[0], sys.version_info[1])"],
                              capture_output=True, text=True, timeout=20, check=True, env=clean_environment(os.environ))
        major, minor = map(int, done.stdout.split())
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise UserInputError(f"{python} is no Python that can be started; choose another one.") from error
    return major, minor


def base_python(named: str) -> str:
    """The Python that makes the environment: `named`, this one, or one on the PATH, of a version that fits.

    Raises
    ------
    UserInputError
        If there is none; says which versions fit.
    """
    own = [sys.executable] if OLDEST <= sys.version_info[:2] <= NEWEST else []
    found = (shutil.which(f"python{OLDEST[0]}.{minor}") for minor in range(NEWEST[1], OLDEST[1] - 1, -1))
    candidates = [named] if named else [*own, *filter(None, found)]
    wanted = f"Python {OLDEST[0]}.{OLDEST[1]} or {NEWEST[0]}.{NEWEST[1]}"
    for candidate in candidates:
        version = version_of(candidate)
        if OLDEST <= version <= NEWEST:
            return candidate
        if named:
            raise UserInputError(f"{named} is Python {version[0]}.{version[1]}; the backend needs {wanted}.")
    raise UserInputError(f"The backend needs {wanted} and there is none; install one and name it in the preferences.")


class SetupRun:
    """Runs a plan step by step in a thread; `tick` takes in what it says.

    Attributes
    ----------
    step, title : index of the step under way, and its title
    lines : the last lines of output
    error : the sentence if it failed, else ""
    """

    def __init__(self, wanted: Plan, folder: Path) -> None:
        self.plan, self.folder = wanted, folder
        self.step, self.title, self.error = 0, wanted.steps[0][0], ""
        self.lines: list[str] = []
        self.running, self.cancelled = True, False
        self._news: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._child: subprocess.Popen[str] | None = None
        threading.Thread(target=self._run, daemon=True).start()

    @property
    def share(self) -> float:
        """How much is done, 0 to 1, by steps."""
        return min(self.step / len(self.plan.steps), 1.0)

    def tick(self) -> bool:
        """Take in news; returns whether it still runs."""
        while not self._news.empty():
            kind, text = self._news.get()
            if kind == "step":
                self.step, self.title = int(text), self.plan.steps[int(text)][0]
            elif kind == "line":
                self.lines = [*self.lines[-LAST_LINES:], text]
            else:
                self.running, self.error = False, text
                self.step = self.step if text else len(self.plan.steps)
        return self.running

    def cancel(self) -> None:
        """Stop; what is half made is removed by the next run, which clears the folder."""
        self.cancelled = True
        if self._child is not None and self._child.poll() is None:
            self._child.kill()

    def _run(self) -> None:
        for index, (title, command) in enumerate(self.plan.steps):
            self._news.put(("step", str(index)))
            problem = self._one(title, command)
            if problem:
                self._news.put(("end", problem))
                return
        self._news.put(("end", ""))

    def _one(self, title: str, command: tuple[str, ...]) -> str:
        """Run one command; returns what went wrong, "" if nothing."""
        if self.cancelled:
            return "Stopped."
        hidden = {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}
        last, said = "", ""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            self._child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                encoding="utf-8", errors="replace", env=clean_environment(os.environ), cwd=self.folder.parent, **hidden)
            assert self._child.stdout is not None
            for line in self._child.stdout:
                last, said = line.strip() or last, (said + line)[-4000:]
                self._news.put(("line", line.rstrip()[:400]))
            code = self._child.wait()
        except OSError as error:
            return f"{title} failed: {command[0]} can't be started ({error.strerror}); choose another Python."
        if self.cancelled:
            return "Stopped."
        return f"{title} failed: {last[:300] or f'exit code {code}'} {advice(said)}" if code else ""


_ADVICE = (
    (r"no space left|disk quota", "Free some gigabytes on that disk and press the button again."),
    (r"name resolution|getaddrinfo|connection|timed out|proxy|unreachable|max retries",
     "Check the network (behind a proxy set HTTPS_PROXY) and press the button again."),
    (r"certificate|ssl", "The network's certificate is not trusted; ask whoever runs it, or type the commands below "
                         "where it is."),
    (r"ensurepip|python3-venv", "Install the system's venv package (python3-venv), or choose another Python."),
    (r"no matching distribution|could not find a version", "There is no such package for this computer and Python; "
                                                           "choose Python 3.11 or 3.12."),
    (r"permission denied|access is denied", "The folder can't be written; close other Blenders and check its rights."),
    (r"error: command|compil|gcc|msvc", "A package had to be compiled; choose Python 3.11, for which all are ready."),
)


def advice(said: str) -> str:
    """What to do about a failure whose output was `said`, in a sentence."""
    for pattern, sentence in _ADVICE:
        if re.search(pattern, said, re.IGNORECASE):
            return sentence
    return "Press the button again, or type the commands below yourself and name that interpreter above."


def masked(text: str) -> str:
    """`text` without what tells who somebody is: the home folder, the user's name in paths."""
    home = str(Path.home())
    if len(home) > 1:
        text = text.replace(home, "~")
    return re.sub(r"(?i)([\\/](?:home|users)[\\/])[^\\/\s\"']+", r"\1…", text)
