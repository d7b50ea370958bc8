"""The private worker of the Blender add-on: ``python -m ml_backend.worker``, requests in, messages out, over pipes.

One job at a time, in the main thread; a second thread reads requests, a third says every second that the process
lives. Standard output carries messages only (see `ml_backend.protocol`); whatever else is printed goes to standard
error. The process ends with its standard input: no orphan outlives a Blender.
"""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from types import FrameType

from ml_backend import protocol
from ml_backend.errors import Cancelled, ParleyError
from ml_backend.progress import Progress
from ml_backend.protocol import BadRequest, Message, Request
from ml_backend.terminal import Terminal

HEARTBEAT_SECONDS = 1.0
PROGRESS_SECONDS = 0.1
"""A stage that reports more often than this is heard less often."""
PATIENCE_SECONDS = 0.3
"""How long a cancelled job may take to notice by itself before it is interrupted, as Ctrl-C does."""
EXIT_SECONDS = 4.0
"""How long a job may take to end once nobody listens any more."""
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STOPPED = "Stopped; what is done so far is kept."


class Channel:
    """The real standard output for messages alone; file descriptor 1 leads to standard error from now on."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self._out = os.dup(1)
        os.dup2(2, 1)
        self._lock = threading.RLock()
        self.busy = False

    def send(self, message: Message) -> None:
        """Write `message` whole; a client that is gone is noticed by the reader, not here."""
        line = protocol.encode(message)
        with self._lock:
            self.busy = True
            try:
                while line:
                    line = line[os.write(self._out, line):]
            except OSError:
                pass
            finally:
                self.busy = False


class EventTerminal(Terminal):
    """A terminal whose words become messages of request `number`; `stop` set makes its progress raise `Cancelled`."""

    def __init__(self, channel: Channel, number: int, stop: threading.Event) -> None:
        super().__init__()
        self._channel, self._number, self._stop = channel, number, stop
        self.said: list[str] = []

    def say(self, text: str) -> None:
        """Keep `text` for the result's summary."""
        self.said.append(text)

    def warn(self, text: str) -> None:
        """Send `text` as a note, once."""
        if text not in self.warnings:
            self.warnings.append(text)
            self._channel.send(protocol.note(self._number, text))

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Progress]:
        """Report one stage; yields the callback ``(done, total)``, which raises `Cancelled` once that is wanted."""
        start = time.monotonic()
        last = -PROGRESS_SECONDS

        def update(done: int, total: int) -> None:
            nonlocal last
            if self._stop.is_set():
                raise Cancelled(STOPPED)
            now = time.monotonic()
            if done < total and now - last < PROGRESS_SECONDS:
                return
            last = now
            left = (now - start) / done * max(total - done, 0) if done > 0 else None
            self._channel.send(protocol.progress(self._number, title, done, total, left))

        update(0, 0)
        yield update


class Worker:
    """Reads requests from file descriptor `source`, does them one after the other."""

    def __init__(self, channel: Channel, source: int) -> None:
        self._channel, self._source = channel, source
        self._requests: queue.Queue[Request | None] = queue.Queue()
        self._stop = threading.Event()
        self._current: int | None = None
        self._in_job = self._interrupted = self._over = False

    def run(self) -> int:
        """Serve until standard input ends, or a job had to be interrupted; returns the exit code."""
        for name in ("SIGINT", "SIGTERM"):
            signal.signal(getattr(signal, name), self._on_signal)
        self._channel.send(protocol.hello())
        for task in (self._beat, self._read):
            threading.Thread(target=task, daemon=True).start()
        # A job interrupted in the middle of anything may have left half an import behind: a fresh process is sure.
        while not self._interrupted and (request := self._next()) is not None:
            self._serve(request)
        return 0

    def _next(self) -> Request | None:
        with contextlib.suppress(KeyboardInterrupt):
            return self._requests.get()
        return None

    def _serve(self, request: Request) -> None:
        """Do one job and answer, whatever happens."""
        terminal = EventTerminal(self._channel, request.id, self._stop)
        try:
            self._in_job = True
            data = self._perform(request, terminal)
            self._in_job = False
            answer = protocol.result(request.id, {**data, "notes": terminal.warnings})
        except (KeyboardInterrupt, Cancelled):
            answer = protocol.error(request.id, "Cancelled", STOPPED)
        except ParleyError as error:
            answer = protocol.error(request.id, type(error).__name__, str(error))
        except Exception as error:
            # The process's edge: the client gets a sentence, the log the whole story.
            traceback.print_exc()
            answer = protocol.error(request.id, type(error).__name__, _trouble(error))
        self._in_job = False
        self._current = None
        self._stop.clear()
        self._channel.send(answer)

    def _perform(self, request: Request, terminal: EventTerminal) -> dict:
        # Imported late: the handshake must not wait for torch.
        with terminal.stage("Starting"):
            from ml_backend import worker_commands
        return worker_commands.COMMANDS[request.command](request.options, terminal)

    def _read(self) -> None:
        """Take requests in; a raw file, for a buffered one's lock would hold the interpreter's end up."""
        with open(self._source, "rb", buffering=0, closefd=False) as stream:
            while line := stream.readline(protocol.LINE_LIMIT + 1):
                if line.strip():
                    self._take(line)
        self._over = True
        self._requests.put(None)
        self._cancel()
        time.sleep(EXIT_SECONDS)
        os._exit(1)

    def _take(self, line: bytes) -> None:
        try:
            request = protocol.parse_request(line)
        except BadRequest as error:
            self._channel.send(protocol.error(error.id, "BadRequest", str(error)))
            return
        if request.command == "ping":
            self._channel.send(protocol.result(request.id, {"busy": self._current is not None}))
        elif request.command == "cancel":
            running = self._current is not None
            self._cancel()
            self._channel.send(protocol.result(request.id, {"cancelled": running}))
        elif self._current is not None:
            self._channel.send(protocol.error(request.id, "Busy", "Another job is running; wait for it or cancel it."))
        else:
            self._current = request.id
            self._requests.put(request)

    def _cancel(self) -> None:
        if self._current is not None:
            self._stop.set()
            threading.Thread(target=self._insist, args=(self._current,), daemon=True).start()

    def _insist(self, number: int) -> None:
        """Interrupt job `number` if it doesn't notice by itself."""
        time.sleep(PATIENCE_SECONDS)
        while self._current == number and not self._interrupted:
            _interrupt()
            time.sleep(PROGRESS_SECONDS)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Raise in the main thread: once, never between two halves of a line, never for a job that is done."""
        if number == getattr(signal, "SIGTERM", None):
            self._stop.set()
            self._over = True
        wanted = self._over or (self._in_job and self._stop.is_set())
        if wanted and not self._interrupted and not self._channel.busy:
            self._interrupted = True
            raise KeyboardInterrupt

    def _beat(self) -> None:
        while True:
            time.sleep(HEARTBEAT_SECONDS)
            self._channel.send(protocol.heartbeat())


def _interrupt() -> None:
    """Have the main thread run its signal handler now, also where it waits for a lock or a child process."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)
    else:
        import _thread

        _thread.interrupt_main()


def _trouble(error: Exception) -> str:
    """One sentence about what nobody foresaw."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return f"The disk is full ({error.filename or 'a file'}); free some space and try again."
    if isinstance(error, OSError):
        return f"{error.filename or 'A file'} can't be used ({error.strerror or error}); check the folder's rights."
    if isinstance(error, MemoryError):
        return "There is not enough memory; close other programs, or choose a shorter clip or a smaller picture."
    return f"Something unexpected happened in the backend ({type(error).__name__}: {error}); the log has the details."


def main() -> int:
    """Serve the process at the other end of standard input and output; returns the exit code."""
    channel = Channel()
    source = os.dup(0)
    # Programs that a job starts must not eat requests.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    code = Worker(channel, source).run()
    sys.stderr.flush()
    # Threads of the libraries have been seen to hold an interpreter's end up; there is nothing left to save.
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
