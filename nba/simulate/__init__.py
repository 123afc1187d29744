"""Simulated telco customers with hidden needs, for the demo and for knowing whether the engine helps.

Read in this order: `population` (who they are), `life` (what they do), `truth` (what they want and when they leave),
`calls` and `history` (logged calls to learn from), `world` (a policy lives with them for a year), `contest` (all policies
in the same world). The engine's own memory and training are handed in by whoever runs it.
"""

from nba.simulate.contest import CONTENDERS, RANDOM_PASSED, contest, interval_of_share, lead_of, share_of_oracle
from nba.simulate.history import history
from nba.simulate.population import World
from nba.simulate.world import Result

__all__ = [
    "CONTENDERS",
    "RANDOM_PASSED",
    "Result",
    "World",
    "contest",
    "history",
    "interval_of_share",
    "lead_of",
    "share_of_oracle",
]
