"""Figures of the documentation in 256 colours: a third of the size, and what the repository holds stays small.

``python docs/figures/palette.py``, after figures were copied here; those that are small already stay as they are.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

COLOURS = 256


def main() -> None:
    """Rewrite what has more colours."""
    for path in sorted(Path(__file__).parent.glob("*.png")):
        with Image.open(path) as image:
            if image.mode == "P":
                continue
            fewer = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        fewer.save(path, optimize=True)


if __name__ == "__main__":
    main()
