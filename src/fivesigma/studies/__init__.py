"""The worked examples that ship with the package, and the words they are written in."""

from fivesigma.studies.definition import (
    FlowWords,
    ModelWords,
    StudyDefinition,
    input_files,
    load_study,
    packaged_studies,
    parse_study,
    parse_words,
    read_study,
    resolve_study,
)

__all__ = [
    "FlowWords",
    "ModelWords",
    "StudyDefinition",
    "input_files",
    "load_study",
    "packaged_studies",
    "parse_study",
    "parse_words",
    "read_study",
    "resolve_study",
]
