"""Customers out of files, and ids of every kind: the types of the config are held to, whatever the format."""

from __future__ import annotations

import json
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kits.activity import NOW_MS, refused
from nba.clock import format_at


@pytest.fixture
def url(redis_url):
    """One Redis is enough here; the store's own tests know the cluster."""
    return redis_url


def test_customers_come_from_columns_or_objects_with_the_types_of_the_config(load, store, run, tmp_path):
    """A CSV has only text; a number is a number all the same, and an empty cell is nothing."""
    (tmp_path / "a.csv").write_text("customer_id,plan,age,vip,family_name\nc0,l,41.5,true,Kraus\nc1,,,,\nc2,l,old,1,\n")
    report = load(tmp_path / "a.csv", kind="customers")
    assert (report.accepted, report.rejected) == (2, 1)
    profile = run(store.read("c0", NOW_MS)).profile
    assert profile == {"plan": "l", "age": 41.5, "vip": True, "family_name": "Kraus"}
    assert run(store.read("c1", NOW_MS)).profile == {}
    (tmp_path / "b.jsonl").write_text(
        '{"customer_id": "c0", "profile": {"age": 42}}\n{"customer_id": "c3", "age": 1, "colour": "red"}\n'
    )
    assert load(tmp_path / "b.jsonl", kind="customers").rejected == 1
    assert run(store.read("c0", NOW_MS)).profile == {"age": 42.0}


def test_customers_of_a_parquet_file_may_come_in_the_types_that_training_takes(load, store, run, tmp_path):
    """0 and 1 are truth values, decimals numbers, truth values words: whose log trains, their customers load too."""
    rows = {
        "customer_id": [1, 2, 3],
        "vip": [0, 1, 2],
        "age": [Decimal("41.5"), None, None],
        "plan": [True, False, True],
    }
    pq.write_table(pa.table(rows), tmp_path / "a.parquet")
    assert load(tmp_path / "a.parquet", kind="customers").rejected == 1  # 2 is no truth value
    assert run(store.read("1", NOW_MS)).profile == {"vip": False, "age": 41.5, "plan": "true"}
    assert run(store.read("2", NOW_MS)).profile == {"vip": True, "plan": "false"}
    (tmp_path / "b.jsonl").write_text('{"customer_id": "c4", "vip": [1]}\n')
    assert load(tmp_path / "b.jsonl", kind="customers").rejected == 1


@pytest.mark.parametrize("nested", [True, False], ids=["profile", "flat"])
@pytest.mark.parametrize(
    ("field", "value", "cure"),
    [
        ("plan", 5, "write it in quotes"),
        ("plan", True, "write it in quotes"),
        ("age", "41", "write it without quotes"),
        ("age", True, "write it without quotes"),
        ("vip", "true", "write true or false, without quotes"),
        ("vip", 1, "write true or false, without quotes"),
        ("family_name", 7, "write it in quotes"),
    ],
)
def test_json_lines_of_customers_are_held_to_their_types_as_put_is(load, tmp_path, nested, field, value, cure):
    """JSON has types: what PUT /v1/customers refuses, a line refuses too, with its field and how to mend it."""
    wrong = {"profile": {field: value}} if nested else {field: value}
    rows = [{"customer_id": "c0", "plan": "l"}, {"customer_id": "c1", **wrong}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    report = load(tmp_path / "a.jsonl", kind="customers")
    [(line, reason)] = refused(report)
    assert (report.accepted, line, reason.partition(":")[0]) == (1, 2, field)
    assert cure in reason


@pytest.mark.parametrize(
    ("kind", "others"),
    [("customers", {"plan": "l"}), ("activity", {"event_id": "e", "channel": "web", "type": "complaint"})],
)
def test_an_id_of_digits_is_text_in_tables_and_refused_as_a_json_number(load, tmp_path, kind, others):
    """The same for every kind (outcomes: tests/serving/test_bulk.py): a table's column has one type, JSON says each value's."""
    row = {"customer_id": 1001, **others, **({"at": format_at(NOW_MS)} if kind == "activity" else {})}
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(row | {'customer_id': '1001'})}\n")
    report = load(tmp_path / "a.jsonl", kind=kind)
    assert (report.accepted, refused(report)) == (1, [(1, "customer_id: 1001 is not text: write ids in quotes")])
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text(f"{','.join(row)}\n{','.join(map(str, row.values()))}\n")
    assert [load(tmp_path / name, kind=kind).accepted for name in ("a.parquet", "a.csv")] == [1, 1]
