"""One HTML page with sections as physicists name them, and every figure as vector, picture and data."""

from fivesigma.report.blocks import (
    SECTIONS,
    Facts,
    Gallery,
    Number,
    Section,
    Table,
    Text,
    WorkingPoints,
    section,
)
from fivesigma.report.classification import ModelFacts, StudyFacts, write_classification_report
from fivesigma.report.numbers import number, with_uncertainty
from fivesigma.report.page import write_report
from fivesigma.report.plot import Plot, PlotFiles, file_stem, save_plot
from fivesigma.report.style import plain

__all__ = [
    "SECTIONS",
    "Facts",
    "Gallery",
    "ModelFacts",
    "Number",
    "Plot",
    "PlotFiles",
    "Section",
    "StudyFacts",
    "Table",
    "Text",
    "WorkingPoints",
    "file_stem",
    "number",
    "plain",
    "save_plot",
    "section",
    "with_uncertainty",
    "write_classification_report",
    "write_report",
]
