"""The settings of the engine: one class, from the environment (`NBA_*`) or the options of the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where things are and how long an answer may take. Each field is the environment variable `NBA_` + its name."""

    model_config = SettingsConfigDict(env_prefix="NBA_", env_ignore_empty=True, frozen=True, extra="ignore")

    config: str = Field("telco", description="config folder, or the name of a shipped one (telco, megaline)")
    redis_url: str | None = Field(
        None, description="redis://, rediss://, unix:// or redis+cluster://; unset: the engine starts its own"
    )
    state_dir: Path = Field(Path(".nba"), description="registry of models, decision log, embedded Redis")
    api_keys: SecretStr | None = Field(
        None,
        description="KEY=scope+scope,KEY=scope with scopes recommend, write, admin; instead of a KEY its digest sha256:HEX, "
        "as `nba key` makes it; unset: loopback only",
    )
    budget_ms: float = Field(50.0, gt=0, le=60_000, description="an answer is given within this time, whatever breaks")
    rate_per_s: float | None = Field(
        None, gt=0, description="requests a second for each API key, and for each call with a token; unset: no limit"
    )
    widget_origins: str | None = Field(
        None, description="origins whose pages may embed the widget, such as https://crm.example; unset: none"
    )
    log: Literal["text", "json"] = Field("text", description="lines on stderr for people (text) or machines (json)")
    token_secret: SecretStr | None = Field(
        None,
        description="secret of the widget's tokens, shared by several machines; unset: one kept in the state folder",
    )
