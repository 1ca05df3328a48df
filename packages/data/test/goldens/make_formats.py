"""Files of the reference libraries that the readers of @posttrain/data are tested on.

    python make_formats.py           writes formats/ beside this script, but for ours.*
    python make_formats.py verify    checks with the same libraries that formats/ours.*, which our writers made, read back right

Versions used: pyarrow 26.0.1, datasets 5.2.0, webdataset 1.0.2, zstandard 0.25.0, reportlab 4.4.4.
"""

import datetime
import decimal
import gzip
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import zstandard

HERE = Path(__file__).parent / "formats"
ROWS = [{"id": i, "text": f"row {i} é 🎉", "score": None if i == 2 else i / 4} for i in range(50)]
LINES = b"".join((json.dumps(row, ensure_ascii=False) + "\n").encode() for row in ROWS)

MICRO = datetime.datetime(2024, 2, 29, 12, 0, 1, 234567)
TYPES = pa.table(
    {
        "i": pa.array([1, None, 3], pa.int32()),
        "big": pa.array([2**60 + 1, 5, None], pa.int64()),
        "u": pa.array([2**64 - 1, 0, None], pa.uint64()),
        "f": pa.array([0.5, None, -1.25], pa.float32()),
        "s": pa.array(["a", None, "é🎉"], pa.large_string()),
        "bytes": pa.array([b"\x00\xff", b"", None]),
        "fixed": pa.array([b"ab", None, b"cd"], pa.binary(2)),
        "when": pa.array([MICRO, None, datetime.datetime(1969, 12, 31, 23, 59, 59)], pa.timestamp("us", tz="UTC")),
        "second": pa.array([MICRO.replace(microsecond=0), None, None], pa.timestamp("s")),
        "day": pa.array([datetime.date(2024, 2, 29), None, None], pa.date32()),
        "time": pa.array([datetime.time(1, 2, 3, 4), None, None], pa.time64("us")),
        "money": pa.array([decimal.Decimal("-12.34"), None, decimal.Decimal("0.05")], pa.decimal128(9, 2)),
        "long": pa.array([decimal.Decimal("12345678901234567890.5"), None, None], pa.decimal128(30, 1)),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "list": pa.array([[1, None], [], None], pa.list_(pa.int64())),
        "messages": pa.array(
            [[{"role": "user", "content": "q"}], None, []],
            pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())])),
        ),
        "map": pa.array([[("a", 1), ("b", None)], [], None], pa.map_(pa.string(), pa.int64())),
        "none": pa.nulls(3),
    }
)


def make() -> None:
    import datasets
    import webdataset
    from reportlab.pdfgen import canvas

    HERE.mkdir(exist_ok=True)
    (HERE / "rows.jsonl.gz").write_bytes(gzip.compress(LINES, mtime=0))
    one = zstandard.ZstdCompressor(level=3, write_checksum=True).compress(LINES)
    (HERE / "rows.jsonl.zst").write_bytes(one)
    # Two frames, as appending to a file makes them; and one without the size of its content, as a stream is written.
    streamed = zstandard.ZstdCompressor(level=19).compressobj()
    (HERE / "frames.jsonl.zst").write_bytes(one + streamed.compress(LINES) + streamed.flush())
    for name, compression in [("lz4", "lz4"), ("zstd", "zstd"), ("plain", "uncompressed")]:
        feather.write_feather(TYPES, HERE / f"types-{name}.feather", compression=compression, chunksize=2)
    with ipc.new_stream(HERE / "types-stream.arrow", TYPES.schema) as writer:
        writer.write_table(TYPES)
    with webdataset.TarWriter(str(HERE / "shard.tar"), mtime=0, user="u", group="g") as sink:
        for i in range(3):
            sink.write({"__key__": f"part/{i:03d}", "txt": f"é {i}", "json": {"n": i, "l": [1.5]}, "cls": i, "seg.bin": bytes([0, i])})
    folder = HERE / "folder"
    dataset = datasets.Dataset.from_list([{"n": i, "messages": [{"role": "user", "content": f"q{i}"}]} for i in range(6)])
    (folder / "en").mkdir(parents=True, exist_ok=True)
    dataset.select(range(4)).to_parquet(folder / "en" / "a.parquet")
    dataset.select(range(4, 6)).to_parquet(folder / "en" / "b.parquet")
    (folder / "README.md").write_text(
        "---\nlicense: mit\nconfigs:\n- config_name: en\n  data_files:\n  - split: train_sft\n    path: en/a*.parquet\n"
        "  - split: held\n    path:\n    - en/b.parquet\n- config_name: both\n  data_files: en/*\n  default: true\n---\n# A set\n"
    )
    page = canvas.Canvas(str(HERE / "two-pages.pdf"), invariant=1)
    for text in ["The first page says this.", "The second page says that."]:
        page.drawString(72, 720, text)
        page.showPage()
    page.save()
    assert datasets.load_dataset(str(folder), "en", split="train_sft").num_rows == 4
    (HERE / "lines.txt").write_bytes("one\r\n\ntwo é\n\n\nthree".encode())
    texts = {
        by: datasets.load_dataset("text", data_files=str(HERE / "lines.txt"), sample_by=by, split="train")["text"][:]
        for by in ["line", "paragraph", "document"]
    }
    (HERE / "texts.json").write_text(json.dumps(texts, ensure_ascii=False))


def verify() -> None:
    import datasets
    import webdataset

    with gzip.open(HERE / "ours.jsonl.gz") as file:
        assert [json.loads(line) for line in file] == ROWS
    # The first frame only, as fsspec, and so datatrove, reads.
    with open(HERE / "ours.jsonl.zst", "rb") as file:
        lines = zstandard.ZstdDecompressor().stream_reader(file).read().splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    assert datasets.load_dataset("json", data_files=str(HERE / "ours.jsonl.zst"), split="train").to_list() == ROWS
    assert feather.read_table(HERE / "ours.feather").to_pylist() == ROWS
    assert datasets.Dataset.from_file(str(HERE / "ours-stream.arrow")).to_list() == ROWS
    shard = webdataset.WebDataset(str(HERE / "ours.tar"), shardshuffle=False).decode()
    found = [{key: value for key, value in row.items() if not key.startswith("__url") and key != "__local_path__"} for row in shard]
    assert found == [
        {"__key__": f"part/{i:03d}", "txt": f"é {i}", "json": {"n": i, "l": [1.5]}, "cls": i, "seg.bin": bytes([0, i])}
        for i in range(3)
    ], found
    folder = datasets.load_dataset(str(HERE / "ours-folder"))
    assert folder["train"].to_list() == [{**row, "m": [{"role": "user", "content": str(row["id"])}]} for row in ROWS]
    assert folder["test"].num_rows == 3 and folder["train"].features["m"] is not None
    print("all of ours read back")


if __name__ == "__main__":
    verify() if sys.argv[1:] == ["verify"] else make()
