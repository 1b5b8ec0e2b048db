"""What the drivers of meters on a bus have in common: DL/T 645 and CJ/T 188."""
