"""`python -m vipnp.cli COMMAND`: the command line."""

from vipnp.cli import app

app(prog_name="vipnp")
