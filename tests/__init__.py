"""Tests mirror the package; they import each other as ``tests.<folder>``, whatever else is installed under that name."""
