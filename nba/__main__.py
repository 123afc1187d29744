"""`python -m nba`: the `nba` command, where its folder is not on the path."""

from nba.cli import main

main()
