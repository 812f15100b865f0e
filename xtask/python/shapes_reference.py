"""Writes what `fixtures/shapes` holds: checksums of scenes for the Rust port, and two scenes for the demo."""

import json
import zlib
from pathlib import Path

from PIL import Image

import shapes

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures/shapes"
# (seed, index): small and large seeds; the demo's two are the first.
SCENES = [(2024, 69), (2024, 78), *((seed, index) for seed in (0, 1, 7, 2**64 - 1) for index in range(20))]


def row(seed, index, scene):
    queries = shapes.queries(seed, index, scene)
    return dict(
        seed=seed,
        index=index,
        pixels=zlib.crc32(scene.pixels.tobytes()),
        labels=zlib.crc32(scene.labels.tobytes()),
        support_pixels=zlib.crc32(queries[-1].support.pixels.tobytes()),
        texts=[query.text for query in queries[:-1]],
        members=[query.members for query in queries],
    )


def main():
    FIXTURES.mkdir(parents=True, exist_ok=True)
    with open(FIXTURES / "scenes.jsonl", "w", newline="\n") as file:
        for number, (seed, index) in enumerate(SCENES):
            scene = shapes.scene(seed, index)
            file.write(json.dumps(row(seed, index, scene)) + "\n")
            if number < 2:
                Image.fromarray(scene.pixels).save(FIXTURES / f"scene-{number + 1}.png", optimize=True)


if __name__ == "__main__":
    main()
