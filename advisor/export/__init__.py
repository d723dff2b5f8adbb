"""Hand a pick over to the programs people use: pure functions from a pick to the files of a target."""
