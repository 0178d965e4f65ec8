"""What flows from a check to the verdict and into files: records of plain values, which compute nothing."""
