"""Goldens of @posttrain/data, made by the reference implementations.

    python make_goldens.py           writes the files beside this script
    python make_goldens.py verify    checks with pyarrow that ours.parquet, which writeParquet made, reads back right

Versions used: pyarrow 26.0.1, trl 1.16.0.
"""

import datetime
import decimal
import json
import math
import sys
import tempfile
import uuid
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


def decimal_type(precision, scale):
    return pa.decimal128(precision, scale)


def column_types():
    """Name -> (what pyarrow writes, what readParquet must give: by its rules, from pyarrow's values)."""
    d = decimal.Decimal
    utc = datetime.timezone.utc
    naive = [datetime.datetime(2024, 1, 1, 1, 2, 3, 4000), None, datetime.datetime(1969, 12, 31, 23, 59, 59, 999000)]
    micro = [datetime.datetime(2024, 1, 1, 1, 2, 3, 4005), None, datetime.datetime(1969, 12, 31, 23, 59, 59, 999999)]
    nano = [1704070923004005006, None, -1]
    date_of = lambda value: None if value is None else {"$date": round(value.replace(tzinfo=utc).timestamp() * 1000)}
    short = [d("0.07"), None, d("-1.10")]
    long = [d("12345678901234567890.0123456789"), None, d("-0.1")]
    messages = [[{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}], None, []]
    odd = [{"__proto__": "p", "constructor": "c", "toString": None}, None, {"__proto__": None, "constructor": "", "toString": "t"}]
    deep = [{"a": [1, None], "b": {"c": [None, "x"]}}, {"a": None, "b": {"c": None}}, {"a": [], "b": None}]
    i64 = [9007199254740993, None, -(2**63)]
    typed = {
        "i64": (pa.array(i64), [{"$bigint": str(v)} if v else None for v in i64]),
        "u64": (pa.array([2**64 - 1, None, 7], pa.uint64()), [{"$bigint": str(2**64 - 1)}, None, 7]),
        "u32": (pa.array([2**32 - 1, None, 7], pa.uint32()), None),
        "i8": (pa.array([-128, None, 127], pa.int8()), None),
        "f32": (pa.array([0.1, None, -2.5], pa.float32()), None),
        "f16": (pa.array([1.5, None, 5.960464477539063e-08], pa.float16()), None),
        "decimal_5_2": (pa.array(short, decimal_type(5, 2)), [0.07, None, -1.1]),
        "decimal_15_2": (pa.array(short, decimal_type(15, 2)), [0.07, None, -1.1]),
        "decimal_16_2": (pa.array(short, decimal_type(16, 2)), ["0.07", None, "-1.10"]),
        "decimal_38_10": (pa.array(long, decimal_type(38, 10)), ["12345678901234567890.0123456789", None, "-0.1000000000"]),
        "decimal_20_0": (pa.array([d("9007199254740993"), None, d("-5")], decimal_type(20, 0)), ["9007199254740993", None, "-5"]),
        "date": (
            pa.array([datetime.date(2024, 2, 29), None, datetime.date(1, 1, 1)]),
            [date_of(datetime.datetime(2024, 2, 29)), None, {"$date": -62135596800000}],
        ),
        "ms": (pa.array(naive, pa.timestamp("ms")), [date_of(v) for v in naive]),
        "us": (pa.array(naive, pa.timestamp("us", tz="UTC")), [date_of(v) for v in naive]),
        "us_exact": (pa.array(micro, pa.timestamp("us", tz="UTC")), [v and v.isoformat() + "Z" for v in micro]),
        "us_local": (pa.array(micro, pa.timestamp("us")), [v and v.isoformat() for v in micro]),
        "ns": (
            pa.array(nano, pa.int64()).cast(pa.timestamp("ns")),
            ["2024-01-01T01:02:03.004005006", None, "1969-12-31T23:59:59.999999999"],
        ),
        "time_ms": (pa.array([datetime.time(1, 2, 3, 4000), None, datetime.time(0)], pa.time32("ms")), ["01:02:03.004", None, "00:00:00.000"]),
        "time_us": (pa.array([datetime.time(1, 2, 3, 4), None, datetime.time(23, 59, 59)], pa.time64("us")), ["01:02:03.000004", None, "23:59:59.000000"]),
        "uuid": (pa.array([uuid.UUID(int=5).bytes, None, uuid.UUID(int=2**127).bytes], pa.uuid()), [str(uuid.UUID(int=5)), None, str(uuid.UUID(int=2**127))]),
        "json": (pa.array(['{"a": [1]}', None, '"x"'], pa.json_()), [{"a": [1]}, None, "x"]),
        "text": (pa.array(["\ufeffmark", None, ""]), None),
        "large": (pa.array(["a", None, "é"], pa.large_string()), None),
        "bytes": (pa.array([b"\x00\xff", None, b""]), None),
        "fixed": (pa.array([b"ab", None, b"cd"], pa.binary(2)), None),
        "dictionary": (pa.array(["u", None, "u"]).dictionary_encode(), None),
        "nothing": (pa.nulls(3), None),
        "list": (pa.array([[[1], [], None], None, []], pa.list_(pa.list_(pa.int64()))), None),
        "messages": (pa.array(messages, MESSAGES), None),
        "odd": (pa.array(odd), None),
        "deep": (pa.array(deep), None),
        "map": (pa.array([[("__proto__", 1), ("b", None)], None, []], pa.map_(pa.string(), pa.int64())), [{"__proto__": 1, "b": None}, None, {}]),
        "map_by_number": (pa.array([[(2, "x"), (1, "y")], None, []], pa.map_(pa.int64(), pa.string())), [[{"key": 2, "value": "x"}, {"key": 1, "value": "y"}], None, []]),
        "map_twice": (pa.array([[("a", 1), ("a", 2)], None, []], pa.map_(pa.string(), pa.int64())), [[{"key": "a", "value": 1}, {"key": "a", "value": 2}], None, {}]),
    }
    return {name: (array, [plain(v) for v in array.to_pylist()] if want is None else want) for name, (array, want) in typed.items()}


def parquet_types():
    typed = column_types()
    table = pa.table({name: array for name, (array, _) in typed.items()})
    for name, options in {
        "types": {"write_page_checksum": True},
        "types-plain": {"use_dictionary": False, "compression": "none"},
        "types-v2": {"data_page_version": "2.0", "use_dictionary": False, "compression": "gzip"},
    }.items():
        pq.write_table(table, HERE / f"pyarrow-{name}.parquet", **options)
    rows = [{name: want[i] for name, (_, want) in typed.items()} for i in range(3)]
    (HERE / "parquet-types.json").write_text(json.dumps(rows, ensure_ascii=False))

    numbers = pa.table({"n": list(range(400)), "i": pa.array([i * i % 77 for i in range(400)], pa.int32()), "s": [f"row {i // 3}" for i in range(400)], "f": [i / 8 for i in range(400)]})
    encodings = {"n": "DELTA_BINARY_PACKED", "i": "DELTA_BINARY_PACKED", "s": "DELTA_BYTE_ARRAY", "f": "BYTE_STREAM_SPLIT"}
    for name, s in {"delta": "DELTA_BYTE_ARRAY", "delta-length": "DELTA_LENGTH_BYTE_ARRAY"}.items():
        path = HERE / f"pyarrow-{name}.parquet"
        options = {"use_dictionary": False, "column_encoding": {**encodings, "s": s}, "data_page_version": "2.0"}
        pq.write_table(numbers, path, data_page_size=512, write_batch_size=64, row_group_size=300, **options)
    # A page of several zstd blocks, the last one with literals.
    text = pa.table({"text": [f"{i * 7919 % 1009} times" for i in range(14000)]})
    pq.write_table(text, HERE / "pyarrow-zstd-blocks.parquet", compression="zstd", use_dictionary=False)


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
    table = pq.read_table(path, page_checksum_verification=True)
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
        parquet_types()
        trl_data_utils()
