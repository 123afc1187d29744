"""The append-only file of the engine's own Redis, written anew: what was erased stands in the old one until then."""

from __future__ import annotations

import asyncio
from typing import Any

from redis import exceptions as failed

_LOOK_S = 0.02


class Rewriting:
    """Rewrites on one client, one at a time; those who ask while another waits for its turn share one."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._turn = asyncio.Lock()
        self._asked = self._covered = 0

    async def rewrite(self) -> None:
        """Returns when what Redis holds now is all that its file holds. Raises what the client raises."""
        self._asked += 1
        mine = self._asked
        async with self._turn:
            if self._covered < mine:
                covers = self._asked
                await self._rewrite()
                self._covered = covers

    async def _rewrite(self) -> None:
        await self._idle()  # one that runs already began before the erasure
        await self._client.execute_command("BGREWRITEAOF")
        if (await self._idle())["aof_last_bgrewrite_status"] != "ok":
            raise failed.ResponseError("the append-only file could not be rewritten")

    async def _idle(self) -> dict[str, Any]:
        while True:
            state: dict[str, Any] = await self._client.info("persistence")
            if not state["aof_rewrite_in_progress"] and not state["aof_rewrite_scheduled"]:
                return state
            await asyncio.sleep(_LOOK_S)
