"""Show: render documents, never compute.

`render` turns any documents into an HTML page, a PNG sheet, Markdown or CSV;
`reports.console` prints them. Nothing heavy is imported before it is needed.
"""

from reports.errors import ReportError
from reports.renderers import RENDERERS, Output, render, reserve

__all__ = ["RENDERERS", "Output", "ReportError", "render", "reserve"]
