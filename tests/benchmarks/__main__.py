"""``python -m tests.benchmarks [NAME …]`` for speeds as ratios, ``… face [OPTIONS]`` for the face's figures."""

from __future__ import annotations

import sys

from tests.benchmarks.speeds import BENCHMARKS


def main(words: list[str]) -> int:
    """Run the named speed benchmarks, or all; or the face's, which has options of its own."""
    if words[:1] == ["face"]:
        from tests.benchmarks import face

        return face.main(words[1:])
    unknown = [name for name in words if name not in BENCHMARKS]
    if unknown:
        sys.stderr.write(f"There is no benchmark {unknown[0]}; choose of {', '.join(BENCHMARKS)}, face.\n")
        return 2
    for name in words or list(BENCHMARKS):
        sys.stdout.write(f"{name:<10} {BENCHMARKS[name]()}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
