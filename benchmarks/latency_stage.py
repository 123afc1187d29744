"""What benchmarks/latency.py and benchmarks/faults.py run against: a config of 24 or 300 offers and 100 columns, a model
of 200 x 31 trees in both heads, customers with 300 events, the service and its floor as processes of their own.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_server

import numpy as np
import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from features.packing import pack  # noqa: E402
from features.spec import FeatureSpec  # noqa: E402
from features.store import Packed, Store  # noqa: E402
from models.calibrate import Calibration  # noqa: E402
from models.export import Head, to_onnx  # noqa: E402
from models.forest import parse_forest  # noqa: E402
from models.registry import Registry  # noqa: E402
from models.schema import Schema, candidate_columns  # noqa: E402
from nba.clock import DAY_MS, system_now_ms  # noqa: E402
from nba.config import Config  # noqa: E402
from nba.domain import Activity  # noqa: E402
from nba.load import load_config  # noqa: E402

COLUMNS = 100
TREES, LEAVES = 200, 31
KEY = "benchmark-key"
SERVE = """
import os, uvicorn
from nba.settings import Settings
from serving.app import create_app
from serving.server import options
uvicorn.run(create_app(Settings()), port=int(os.environ["PORT"]), **options())
"""
OWN_PLAN = "l-40"
ASK = {
    "channel": "call",
    "interaction_id": "call-77",
    "context": {"intent": "billing"},
    "limit": 3,
    "agent": {"id": "a-12"},
}
_TAKES = ("sum", "count", "mean", "max", "last", "trend")


def write_config(folder: Path, offers: int = 24) -> Config:
    """The telco config with its features filled up to 100 columns, its catalog repeated up to `offers` or cut down to them."""
    shutil.copytree(ROOT / "nba/configs/telco", folder)
    features = yaml.safe_load((folder / "features.yaml").read_text())
    missing = COLUMNS - len(load_config(folder).features.columns)
    for number in range(missing):
        take = _TAKES[number % len(_TAKES)]
        entry = {"name": f"extra_{number}", "of": "data_used", "take": take, "window": f"{number + 2}d", "default": 0.0}
        features["features"].append(entry)
    (folder / "features.yaml").write_text(yaml.safe_dump(features, allow_unicode=True, sort_keys=False))
    catalog = yaml.safe_load((folder / "catalog.yaml").read_text())
    named = (folder / "policy.yaml").read_text()
    first = sorted(catalog["offers"], key=lambda offer: offer["id"] not in (OWN_PLAN, *re.findall(r"[\w-]+", named)))
    copies = [{**offer, "id": f"{offer['id']}-{n}"} for n in range(1, offers // len(first) + 1) for offer in first]
    catalog["offers"] = (first + copies)[:offers]
    (folder / "catalog.yaml").write_text(yaml.safe_dump(catalog, allow_unicode=True, sort_keys=False))
    config = load_config(folder)
    if (len(config.features.columns), len(config.catalog.offers)) != (COLUMNS, offers):
        raise SystemExit(f"the config has {len(config.features.columns)} columns, {len(config.catalog.offers)} offers")
    return config


def write_model(state_dir: Path, config: Config, seed: int = 7, trees: int = TREES) -> str:
    """Two heads of `trees` x 31 leaves over every column of the vector, promoted; its version."""
    import lightgbm

    schema = Schema(candidate_columns(config.features.columns, config.catalog))
    rng = np.random.default_rng(seed)
    width = len(schema.columns)
    rows = rng.normal(size=(1_500, width + 1)).astype(np.float32) * 1000
    rows[:, width] = rng.integers(0, 2, len(rows))  # the last column of the stay head: accepted or not
    heads = []
    for number, used in enumerate((rows[:, :width], rows)):
        weights = rng.normal(size=used.shape[1])
        chance = 1 / (1 + np.exp(-(used @ weights) / 10_000))
        label = (rng.random(len(rows)) < chance).astype(np.float32)
        options = {
            "objective": "binary",
            "num_leaves": LEAVES,
            "min_data_in_leaf": 5,
            "max_bin": 63,
            "verbosity": -1,
            "seed": seed + number,
            "num_threads": 2,
        }
        booster = lightgbm.train(options, lightgbm.Dataset(used, label), trees)
        heads.append(Head(parse_forest(booster.model_to_string()), Calibration(1.0, 0.0)))
    onnx = to_onnx(width, heads[0], heads[1])
    certificate = {"passed": True, "onnx_sha256": hashlib.sha256(onnx).hexdigest(), "by": "benchmark: not certified"}
    version = f"20261101T0000{seed:02d}-{hashlib.sha256(onnx).hexdigest()[:6]}"
    registry = Registry(state_dir / "models")
    files = {
        "model.onnx": onnx,
        "schema.json": json.dumps(schema.as_json()),
        "certificate.json": json.dumps(certificate),
    }
    registry.write(version, {n: f if isinstance(f, bytes) else f.encode() for n, f in files.items()})
    registry.promote(version)
    return version


def events_of(customer_id: str, config: Config, count: int, seed: int) -> list[Activity]:
    """`count` events over the last 100 days, in order of time as a real stream nearly is: the read sorts what is not."""
    rng = random.Random(seed)
    now_ms = system_now_ms()
    types = list(config.features.activities)
    kinds = ["data_used"] * 6 + [t for t in types if not config.features.activities[t].opens_issue]
    moments = sorted(now_ms - rng.randrange(1, 100 * DAY_MS) for _ in range(count))
    return [
        Activity(f"{customer_id}-{n}", customer_id, at_ms, "app", rng.choice(kinds), rng.randrange(1, 60), None)
        for n, at_ms in enumerate(moments)
    ]


async def fill(url: str, config: Config, customers: Sequence[str], events: int) -> int:
    """Customers with a profile and `events` events each; the bytes of one customer's values."""
    spec = FeatureSpec(config.features)
    store = await Store.open(url, spec, timeout_s=30)
    profile = {"plan": OWN_PLAN, "family_name": "Kraus", "salutation": "Mr.", "tenure_months": 30.0}
    for start in range(0, len(customers), 500):
        part = customers[start : start + 500]
        made = [(c, events_of(c, config, events, n)) for n, c in enumerate(part)]
        await store.append_packed([Packed(c, b"".join(pack(e, spec.channels) for e in es)) for c, es in made])
        await store.put_profiles([(c, profile) for c in part], system_now_ms())
    await store.close()
    return events * 32


def free_port() -> int:
    with create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def process(
    arguments: Sequence[str], port: int, health: str = "/healthz", **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A server of its own process, ready to answer; stopped at the end."""
    with subprocess.Popen(arguments, env={**os.environ, **environment}, cwd=ROOT) as child:
        try:
            wait_for(port, health)
            yield child
        finally:
            child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(60)
            child.kill()


def wait_for(port: int, health: str = "/healthz", seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{health}", timeout=1).read()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing answers on port {port}") from None
            time.sleep(0.05)
