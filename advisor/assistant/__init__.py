"""Answer other people's assistants: a Model Context Protocol server over the advisor's own commands."""
