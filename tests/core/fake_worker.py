"""A worker that misbehaves as its first argument says; everything else is as the real one does it."""

from __future__ import annotations

import json
import os
import sys
import time

MANNER = sys.argv[1]


def send(**message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def work(number: int) -> None:
    for done in range(4):
        send(type="progress", id=number, stage="Speech to motion", done=done, total=3, seconds_left=None)
    send(type="note", id=number, text="A word.")


def answer(request: dict) -> None:
    number, once = request["id"], len(sys.argv) > 2 and not os.path.exists(sys.argv[2])
    manner = MANNER if once or len(sys.argv) < 3 else "normal"
    if once:
        open(sys.argv[2], "w").close()
    if request["command"] == "cancel":
        return
    misbehave(manner, number)
    if manner == "full":
        send(type="error", id=number, kind="OSError", sentence="The disk is full (a.npz); free some space.")
        return
    if manner == "babble":
        for _ in range(2000):
            sys.stdout.write("W0000 delegate: \x00 {no json}\n")
    work(number)
    send(type="result", id=number, data={"out": request["options"].get("out"), "environment": dict(os.environ)})


def misbehave(manner: str, number: int) -> None:
    if manner == "crash":
        os.kill(os.getpid(), 9)
    if manner in ("hang", "deaf"):
        if manner == "deaf":
            import signal

            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    if manner == "huge":
        sys.stdout.write("{" + "x" * (3 << 20))
        sys.stdout.flush()
        time.sleep(60)
    if manner == "halves":
        send(type="progress", id=number)
        time.sleep(60)


if MANNER == "mute":
    time.sleep(60)
if MANNER == "slow":
    time.sleep(0.5)
if MANNER == "gone":
    sys.stderr.write("No module named ml_backend\n")
    sys.exit(1)
send(type="hello", protocol=99 if MANNER == "old" else 1, parley="0.1.0", python="3.11")
for line in sys.stdin:
    answer(json.loads(line))
