"""``python -m tests.benchmarks [NAME …]`` for speeds as ratios, ``… face``, ``… film``, ``… refiner`` for figures."""

from __future__ import annotations

import sys

from tests.benchmarks.speeds import BENCHMARKS


def main(words: list[str]) -> int:
    """Run the named speed benchmarks, or all; or those of face, film or refiner, which have options of their own."""
    if words[:1] == ["face"]:
        from tests.benchmarks import face

        return face.main(words[1:])
    if words[:1] == ["film"]:
        from tests.benchmarks import film

        return film.main(words[1:])
    if words[:1] == ["refiner"]:
        from tests.benchmarks import refiner

        return refiner.main(words[1:])
    unknown = [name for name in words if name not in BENCHMARKS]
    if unknown:
        known = ", ".join((*BENCHMARKS, "face", "film", "refiner"))
        sys.stderr.write(f"There is no benchmark {unknown[0]}; choose of {known}.\n")
        return 2
    for name in words or list(BENCHMARKS):
        sys.stdout.write(f"{name:<10} {BENCHMARKS[name]()}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
