"""Dense evaluation, multi-crop and both, measured: `make study-dense`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from studies import small_vgg

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Train what is not trained yet."""
    cache = ROOT / ".cache" / "dense-evaluation"
    cache.mkdir(parents=True, exist_ok=True)
    with np.load(small_vgg.images(small_vgg.data_folder(), cache, say)) as arrays:
        x, y = arrays["x_train"], arrays["y_train"]
    for padded in (True, False):
        small_vgg.trained(x, y, cache, say, padded=padded)
    return 0


def say(text: str) -> None:
    """Progress and remarks."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
