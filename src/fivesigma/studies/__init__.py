"""The worked examples that ship with the package, and the words they are written in."""

from fivesigma.studies.definition import (
    ModelWords,
    StudyDefinition,
    input_files,
    load_study,
    packaged_studies,
    parse_study,
    resolve_study,
)

__all__ = [
    "ModelWords",
    "StudyDefinition",
    "input_files",
    "load_study",
    "packaged_studies",
    "parse_study",
    "resolve_study",
]
