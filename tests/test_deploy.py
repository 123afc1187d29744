"""What stands under deploy/ fits the engine: no container engine is needed to see that names, ports and files agree."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from kits.served import serving
from nba.settings import Settings
from serving.metrics import Metrics

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
PROMETHEUS = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))
_GROUPING = re.compile(r"\bby \(([^)]*)\)")
_SELECTED = re.compile(r"\{(\w+)=")


def expressions() -> list[str]:
    """Every PromQL expression of the dashboard and of the alerts."""
    panels = json.loads((DEPLOY / "grafana" / "nba.dashboard.json").read_text(encoding="utf-8"))["panels"]
    alerts = yaml.safe_load((DEPLOY / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    asked = [target["expr"] for panel in panels for target in panel["targets"]]
    return asked + [rule["expr"] for group in alerts for rule in group["rules"]]


@pytest.fixture(scope="module")
def exposition(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What /metrics of `nba serve` says after a decision, its outcome, an event and a reload."""
    with serving(tmp_path_factory.mktemp("state")) as client:
        yield exercised(client)


def exercised(client: httpx.Client) -> str:
    event = {
        "event_id": "e-1",
        "customer_id": "c-1",
        "at": "2026-11-01T10:00:00Z",
        "channel": "web",
        "type": "complaint",
    }
    client.put("/v1/customers/c-1", json={"plan": "l-40"}).raise_for_status()
    client.post("/v1/activity", json={"events": [event]}).raise_for_status()
    for customer in ("c-1", "c-2"):
        answer = client.post("/v1/recommend", json={"customer_id": customer}).raise_for_status().json()
        for suggestion in answer["suggestions"]:
            told = {"decision_id": answer["decision_id"], "offer_id": suggestion["offer_id"], "outcome": "shown"}
            client.post("/v1/outcomes", json=told).raise_for_status()
    client.post("/v1/admin/reload", json={}).raise_for_status()
    return client.get("/metrics").raise_for_status().text


def exported(exposition: str) -> set[str]:
    """The names of every series, those of metrics without one yet included."""
    names = set(re.findall(r"^(nba_\w+)", exposition, re.MULTILINE))
    return names | {name for name, _ in re.findall(r"^# TYPE (nba_\w+) (counter|gauge)$", exposition, re.MULTILINE)}


def test_every_metric_that_is_asked_for_is_exported(exposition):
    """Dashboard and alerts name only series that the running service has; and hardly one that it has is left out."""
    asked = {name for expression in expressions() for name in re.findall(r"\bnba_\w+", expression)}
    assert asked - exported(exposition) == set()
    families = {name for name, _ in re.findall(r"^# TYPE (nba_\w+) (\w+)$", exposition, re.MULTILINE)}
    shown = {re.sub(r"_bucket$", "", name) for name in asked}
    assert families - shown == set()


def test_every_label_that_is_asked_for_is_there(exposition):
    """A wrong label in `by` or in braces gives an empty panel and no error. What seldom happens is counted here."""
    seldom = Metrics()
    seldom.damaged(["activity"])
    seldom.rolls.labels("failed").inc()
    seldom.decision("model", ["features"], [("flex-10", 1)], ["consent"])
    seldom.outcome("shown")
    exposition += seldom.exposition().decode()
    for expression in (part for whole in expressions() for part in whole.split(" / ")):
        for name in re.findall(r"\bnba_\w+", expression):
            series = re.findall(rf"^{name}\{{(.*)\}} ", exposition, re.MULTILINE)
            wanted = {part.strip() for m in _GROUPING.finditer(expression) for part in m[1].split(",")}
            wanted |= set(_SELECTED.findall(expression))
            assert wanted <= set(re.findall(r'(\w+)="', " ".join(series))), expression


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool here")
def test_every_alert_comes_when_it_should_and_only_then():
    """promtool has series in which all is well, streams open for minutes among them, and for each alert some that fire it."""
    names = [rule["alert"] for rule in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"][0]["rules"]]
    fired = (ROOT / "tests" / "alerts_test.yml").read_text(encoding="utf-8")
    assert all(f"- name: {name}\n" in fired for name in names)
    command = ["promtool", "test", "rules", ROOT / "tests" / "alerts_test.yml"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_shows_what_an_operator_asks_for():
    """Unique panels that lie beside each other, on the datasource that is provisioned."""
    board = json.loads((DEPLOY / "grafana" / "nba.dashboard.json").read_text(encoding="utf-8"))
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
    assert len(set(places)) == len({p["id"] for p in board["panels"]}) == len(board["panels"])
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    assert {p["datasource"]["uid"] for p in board["panels"]} == {source["uid"] for source in sources}
    assert sources[0]["url"] == "http://prometheus:9090"


def mounts(service: str) -> dict[str, str]:
    """Where each file or volume of a service is mounted, by its place inside."""
    return {place.split(":")[1]: place.split(":")[0] for place in COMPOSE["services"][service]["volumes"]}


def test_compose_names_files_volumes_and_settings_that_exist():
    """What is mounted is there or declared, what is built has a Dockerfile, what is set is a setting."""
    for service in COMPOSE["services"]:
        for source in mounts(service).values():
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], source
    nba = COMPOSE["services"]["nba"]
    assert (DEPLOY / nba["build"] / "Dockerfile").is_file()
    known = {f"NBA_{name.upper()}" for name in Settings.model_fields} | {"OTEL_EXPORTER_OTLP_ENDPOINT"}
    assert set(nba["environment"]) <= known
    assert "--appendonly" in COMPOSE["services"]["redis"]["command"]
    for service in COMPOSE["services"].values():
        assert service.get("depends_on", {}) == {} or set(service["depends_on"]) <= set(COMPOSE["services"])
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_the_parts_find_each_other():
    """Prometheus asks the port that nba listens on, with the key that is mounted, and reads the alerts that are mounted."""
    [job] = PROMETHEUS["scrape_configs"]
    command = COMPOSE["services"]["nba"]["command"]
    port = command[command.index("--port") + 1]
    assert job["static_configs"] == [{"targets": [f"nba:{port}"]}]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{COMPOSE['services']['prometheus']['secrets'][0]}"
    assert set(PROMETHEUS["rule_files"]) <= mounts("prometheus").keys()
    provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/nba.yml").read_text())["providers"][0]
    assert any(place.startswith(provider["options"]["path"]) for place in mounts("grafana"))
    assert COMPOSE["services"]["nba"]["environment"]["NBA_REDIS_URL"].startswith("redis://redis:6379")


def test_the_dockerfile_copies_what_is_there_and_installs_what_was_tested():
    """Sources and constraints are the repository's, the engine runs without rights and drains when it is told to stop."""
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    packages = set(
        re.findall(r'"([\w.]+)"', re.search(r"^packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text(), re.M)[1])
    )
    assert {name.partition(".")[0] for name in packages} < set(copied)
    assert all((ROOT / source).exists() for source in copied)
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(let_in) == sorted(copied)
    assert "-c constraints.txt" in DOCKERFILE and "constraints.txt" in copied
    last = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER nba$", last, re.MULTILINE) and "HEALTHCHECK" in last and "SIGTERM" in last
    assert "pip install" not in last and "http://127.0.0.1:8000/healthz" in last
    stated = [int(COMPOSE["services"]["nba"]["stop_grace_period"].rstrip("s")), int(unit("TimeoutStopSec"))]
    from serving.server import DRAIN_S

    assert min(stated) > DRAIN_S


def test_the_health_check_asks_the_container_itself(tmp_path):
    """0 where the service answers and not where none does, also in a container that was given a proxy for its way out."""
    check = json.loads(re.search(r"HEALTHCHECK[^\[]*CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)[1])[2]
    environment = {**os.environ, "http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    environment = {name: value for name, value in environment.items() if name.lower() != "no_proxy"}

    def status(port: int) -> int:
        command = [sys.executable, "-c", check.replace(":8000/", f":{port}/")]
        return subprocess.run(command, check=False, capture_output=True, env=environment).returncode

    with serving(tmp_path) as client:
        port = client.base_url.port
        assert status(port) == 0
    assert status(port) == 1


def test_the_nightly_lines_are_what_cron_reads():
    """cron takes what follows a value for a part of it, a remark too, and % for the end of a line."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    lines = re.search(r"## Every night.*?```\n(.*?)```", page, re.DOTALL)[1].splitlines()
    assert all("#" not in line for line in lines if not line.startswith("#"))
    assert all("%" not in line for line in lines)


def unit(name: str) -> str:
    return re.search(rf"^{name}=(.*)$", (DEPLOY / "nba.service").read_text(), re.MULTILINE)[1]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")
def test_the_systemd_unit_is_sound_and_shut_in(tmp_path):
    """systemd-analyze finds nothing to say, and little that is left open; the verb that it runs exists."""
    nba = Path(sys.executable).with_name("nba")
    text = (DEPLOY / "nba.service").read_text().replace("/opt/nba/.venv/bin/nba", str(nba))
    (tmp_path / "nba.service").write_text(text)
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "nba.service"], check=False, capture_output=True, text=True
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    assert re.match(r"/opt/nba/.venv/bin/nba serve ", unit("ExecStart"))
    assert {unit("NoNewPrivileges"), unit("ProtectSystem"), unit("StateDirectory")} == {"yes", "strict", "nba"}
