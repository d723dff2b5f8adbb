"""Colours of charts and page: one set of roles, a light and a dark palette.

The data colours are those of Okabe and Ito ("Color Universal Design", 2008), darkened or lightened
until each reaches a contrast of 3:1 on its surface; charts also tell series apart by marker or hatch.
Within a palette every colour is used by one role only, so that an SVG's colours can be turned into
CSS variables (`reports.charts.svg`).
"""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """Colours by role."""

    surface: str
    ink: str
    muted: str
    axis: str
    grid: str
    blue: str
    orange: str
    green: str
    red: str
    purple: str
    sky: str
    sand: str
    band: str  # a soft area behind data
    band_strong: str

    @property
    def series(self) -> tuple[str, ...]:
        """Colours for series without a meaning of their own, in order of use."""
        return (self.blue, self.orange, self.green, self.purple, self.red, self.sky, self.sand)


LIGHT = Theme(
    surface="#ffffff",
    ink="#17202c",
    muted="#55606e",
    axis="#8a94a1",
    grid="#e6e9ee",
    blue="#0068a8",
    orange="#c77800",
    green="#00805e",
    red="#c94f00",
    purple="#a9508a",
    sky="#3d93c9",
    sand="#8c7a2e",
    band="#eef4f9",
    band_strong="#d9e8f3",
)
DARK = Theme(
    surface="#161c25",
    ink="#e9edf2",
    muted="#a6b0bd",
    axis="#6d7886",
    grid="#28313d",
    blue="#5db4ea",
    orange="#f0ac3f",
    green="#35c79b",
    red="#ff8a52",
    purple="#e09bc5",
    sky="#8fd0f5",
    sand="#d3c26a",
    band="#1b2734",
    band_strong="#22374a",
)


def roles(theme: Theme) -> dict[str, str]:
    """Role names and their colours."""
    return {field.name: getattr(theme, field.name) for field in fields(theme)}
