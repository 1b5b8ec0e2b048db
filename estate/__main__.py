"""``python -m estate``."""

from estate.cli import app

app(prog_name="estate")
