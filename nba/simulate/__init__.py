"""Simulated telco customers with hidden needs, for the demo and for knowing whether the engine helps. See `world.py`."""

from nba.simulate.calls import Memory
from nba.simulate.history import History, history
from nba.simulate.population import World

__all__ = ["History", "Memory", "World", "history"]
