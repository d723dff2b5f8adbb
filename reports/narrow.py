"""Tables for terminals of any width."""

from rich import table
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

#: What a column of names keeps, to be broken over lines.
_LEAST_WRAPPED_CELLS = 14


class Table(table.Table):
    """A table that leaves out its last columns, and says so, before it cuts figures short or names to nothing."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """As rich does with the columns that there is room for."""
        every = self.columns
        room = options.max_width + self._gap_cells  # there is no gap after the last one
        left_out: list[RenderableType] = []
        while len(self.columns) > 1 and sum(map(self._least_cells, self.columns)) > room:
            left_out.insert(0, self.columns[-1].header)
            self.columns = self.columns[:-1]
        yield from super().__rich_console__(console, options)
        if left_out:
            yield Text(f"no room for {', '.join(map(str, left_out))}: widen the terminal, or use --json", style="dim")
        self.columns = every

    def _least_cells(self, column: table.Column) -> int:
        """The room that a column and the space after it need."""
        widest = max(map(_cells, (column.header, *column.cells)), default=0)
        return (widest if column.no_wrap else min(_LEAST_WRAPPED_CELLS, widest)) + self._gap_cells

    @property
    def _gap_cells(self) -> int:
        return self.padding[1] + 1


def _cells(content: RenderableType) -> int:
    lines = (content.plain if isinstance(content, Text) else str(content)).splitlines()
    return max(map(cell_len, lines), default=0)
