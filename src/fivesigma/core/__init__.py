"""Errors, registries, integrity, progress and provenance: what every stage stands on."""
