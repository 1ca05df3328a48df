"""Goldens of @posttrain/data, made by the reference implementations.

    python make_goldens.py           writes the files beside this script
    python make_goldens.py verify    checks with pyarrow that ours.parquet, which writeParquet made, reads back right

Versions used: pyarrow 26.0.1, trl 1.16.0.
"""

import datetime
import json
import math
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))

ROWS = [
    {
        "id": i,
        "text": None if i == 3 else f"row {i} é 🎉",
        "score": None if i == 2 else i / 4,
        "flag": i % 2 == 0,
        "big": 2**60 + i,
        "when": datetime.datetime(2024, 2, 29, 12, 0, i, tzinfo=datetime.timezone.utc),
        "blob": bytes([0, 255, i]),
        "labels": [] if i == 1 else [True, None, False][: i % 4],
        "messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": None if i == 4 else "a"}],
    }
    for i in range(7)
]

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("text", pa.string()),
        ("score", pa.float64()),
        ("flag", pa.bool_()),
        ("big", pa.int64()),
        ("when", pa.timestamp("ms", tz="UTC")),
        ("blob", pa.binary()),
        ("labels", pa.list_(pa.bool_())),
        ("messages", MESSAGES),
    ]
)


def plain(value):
    """The row as JSON: what readParquet must give, with bigints, dates and bytes tagged."""
    if isinstance(value, datetime.datetime):
        return {"$date": int(value.timestamp() * 1000)}
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) > 2**53 - 1:
        return {"$bigint": str(value)}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    return value


def parquet_files():
    table = pa.Table.from_pylist(ROWS, schema=SCHEMA)
    for codec in ["none", "snappy", "gzip", "zstd", "brotli", "lz4"]:
        pq.write_table(table, HERE / f"pyarrow-{codec}.parquet", compression=codec, row_group_size=3)
    pq.write_table(table, HERE / "pyarrow-v2.parquet", data_page_version="2.0", use_dictionary=False)
    (HERE / "parquet-rows.json").write_text(json.dumps([plain(r) for r in ROWS], ensure_ascii=False))


def trl_data_utils():
    import copy

    from datasets import Dataset
    from trl import extract_prompt, is_conversational, maybe_convert_to_chatml, maybe_extract_prompt
    from trl import unpair_preference_dataset
    from trl.data_utils import is_conversational_from_value

    def user(text):
        return {"role": "user", "content": text}

    def assistant(text):
        return {"role": "assistant", "content": text}

    rows = [
        {"prompt": [user("What color is the sky?")]},
        {"prompt": "The sky is"},
        {"prompt": "The sky is", "completion": " blue."},
        {"messages": [user("hi"), assistant("hello")]},
        {"text": "hi"},
        {"chosen": [user("a"), assistant("b")], "rejected": [user("a"), assistant("c")]},
        {"chosen": "The sky is blue.", "rejected": "The sky is green."},
        {"chosen": "The sky is blue", "rejected": "The sky is blown"},
        {"chosen": "one two three", "rejected": "one two four and more"},
        {"chosen": "x😀 yes", "rejected": "x😁 no"},
        {
            "chosen": [user("a"), assistant("b"), user("c"), assistant("d")],
            "rejected": [user("a"), assistant("b"), user("c"), assistant("e"), user("f"), assistant("g")],
        },
        {"prompt": "p", "chosen": [user("p"), assistant("b")], "rejected": [user("p"), assistant("c")]},
        {"prompt": [user("p")], "chosen": [assistant("b")], "rejected": [assistant("c")]},
        {"prompt": "p ", "chosen": "yes", "rejected": "no"},
        {"conversations": [{"from": "user", "value": "hi"}, {"from": "assistant", "value": "hello"}], "id": 1},
        {"conversations": [user("hi"), assistant("hello")]},
        {"conversations": "hi"},
        {"prompt": [{"from": "user", "value": "hi"}], "completion": [{"from": "assistant", "value": "yo"}]},
    ]
    cases = []
    for row in rows:
        case = {
            "row": row,
            "is_conversational": is_conversational(row),
            "is_conversational_from_value": is_conversational_from_value(row),
            "maybe_convert_to_chatml": maybe_convert_to_chatml(copy.deepcopy(row)),
            "maybe_extract_prompt": maybe_extract_prompt(row),
        }
        if "chosen" in row:
            case["extract_prompt"] = extract_prompt(row)
        cases.append(case)

    paired = {"prompt": ["p1", "p2"], "chosen": ["c1", "c2"], "rejected": ["r1", "r2"], "source": ["a", "b"]}
    unpaired = unpair_preference_dataset(Dataset.from_dict(paired)).to_list()
    golden = {"cases": cases, "unpair": {"rows": Dataset.from_dict(paired).to_list(), "unpaired": unpaired}}
    (HERE / "trl-data-utils.json").write_text(json.dumps(golden, ensure_ascii=False))


def verify():
    """ours.parquet is compared, byte for byte, with what writeParquet writes now by parquet.test.ts."""
    path = HERE / "ours.parquet"
    file = pq.ParquetFile(path)
    assert file.metadata.num_row_groups == 3, file.metadata
    table = file.read()
    expected = json.loads((HERE / "parquet-rows.json").read_text())
    got = [plain(row) for row in table.to_pylist()]
    assert got == expected, (got, expected)
    types = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert types["messages"].startswith("list<element: struct<role: string, content: string>"), types
    assert types["id"] == types["big"] == "int64" and types["score"] == "double", types
    assert types["text"] == "string" and types["blob"] == "binary" and types["flag"] == "bool", types
    assert types["when"].startswith("timestamp[ms"), types

    from datasets import load_dataset

    with tempfile.TemporaryDirectory() as cache:
        rows = load_dataset("parquet", data_files=str(path), split="train", cache_dir=cache)[:]
    assert rows["messages"][4] == expected[4]["messages"]
    assert math.isclose(rows["score"][5], 1.25)
    print("ours.parquet: pyarrow and datasets read", len(got), "rows as expected")


if __name__ == "__main__":
    if sys.argv[1:] == ["verify"]:
        verify()
    else:
        parquet_files()
        trl_data_utils()
