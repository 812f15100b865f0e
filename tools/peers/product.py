"""One product of matrices on PyTorch: `product.py THREADS ROWS INNER COLUMNS RUNS FOLDER`.

As `benches/examples/product.rs`, which `cargo xtask peers` runs beside it: reads `left.f32` and `right.f32` in the folder, writes
`product.f32`, prints the seconds of each warm run.
"""

import json
import sys
import time
from pathlib import Path

import numpy
import torch

threads, rows, inner, columns, runs = map(int, sys.argv[1:6])
folder = Path(sys.argv[6])
torch.set_num_threads(threads)
left = torch.from_numpy(numpy.fromfile(folder / "left.f32", "<f4").reshape(rows, inner))
right = torch.from_numpy(numpy.fromfile(folder / "right.f32", "<f4").reshape(inner, columns))
with torch.inference_mode():
    for _ in range(3):
        product = left @ right
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        product = left @ right
        seconds.append(time.perf_counter() - start)
product.numpy().astype("<f4").tofile(folder / "product.f32")
print(json.dumps(dict(engine=f"PyTorch {torch.__version__}, cpu", seconds=seconds)))
