"""The peer of data-curation.ts: datatrove, and datasets for map and filter, on the same files, in one process.

usage: data-curation-peer.py FOLDER TASK    prints one JSON line: processor and wall seconds of the task, and rows that it gave

Imports, the tokenizer of words and a first small run are not timed.
"""

import contextlib
import io
import json
import logging
import os
import shutil
import sys
import time

folder, task = sys.argv[1], sys.argv[2]
os.environ["HF_HUB_OFFLINE"] = "1"
logging.disable(logging.CRITICAL)
os.environ["LOGURU_LEVEL"] = "ERROR"
from loguru import logger  # noqa: E402

logger.remove()
out = os.path.join(folder, "peer-out", task)
shutil.rmtree(out, ignore_errors=True)


def reader(kind):
    from datatrove.pipeline.readers import JsonlReader, ParquetReader

    if kind == "parquet":
        return ParquetReader(folder, glob_pattern="rows.parquet")
    return JsonlReader(folder, glob_pattern="rows.jsonl.zst" if kind == "zst" else kind)


def count(documents):
    return sum(1 for _ in documents)


def read(kind):
    return lambda: count(reader(kind).run(rank=0, world_size=1))


def write(kind):
    from datatrove.pipeline.writers import JsonlWriter, ParquetWriter

    documents = list(reader("rows.jsonl").run(rank=0, world_size=1))

    def run():
        name = "rows.parquet" if kind == "parquet" else "rows.jsonl.zst"
        writer = (
            ParquetWriter(out, output_filename=name)
            if kind == "parquet"
            else JsonlWriter(out, output_filename=name, compression="zstd")
        )
        return count(writer.run(iter(documents), rank=0, world_size=1))

    return run


def gopher():
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter

    documents = list(reader("rows.jsonl").run(rank=0, world_size=1))
    quality, repetition = GopherQualityFilter(), GopherRepetitionFilter()
    list(quality.run(iter(documents[:5]), rank=0, world_size=1))
    return lambda: count(quality.run(repetition.run(iter(documents), rank=0, world_size=1), rank=0, world_size=1))


def minhash():
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig

    config = MinhashConfig()
    documents = list(reader("rows.jsonl").run(rank=0, world_size=1))
    warm = MinhashDedupSignature(os.path.join(out, "warm"), config=config)
    warm.run(iter(documents[:5]), rank=0, world_size=1)

    def run():
        MinhashDedupSignature(os.path.join(out, "sig"), config=config).run(iter(documents), rank=0, world_size=1)
        for bucket in range(config.num_buckets):
            MinhashDedupBuckets(os.path.join(out, "sig"), os.path.join(out, "buckets"), config=config).run(
                rank=bucket, world_size=config.num_buckets
            )
        MinhashDedupCluster(os.path.join(out, "buckets"), os.path.join(out, "remove"), config=config).run(None, 0, 1)
        return count(MinhashDedupFilter(os.path.join(out, "remove")).run(iter(documents), rank=0, world_size=1))

    return run


def exact():
    from datatrove.pipeline.dedup import ExactDedupFilter, ExactDedupSignature, ExactFindDedups
    from datatrove.pipeline.dedup.exact_dedup import ExactDedupConfig

    documents = list(reader("rows.jsonl").run(rank=0, world_size=1))
    config = ExactDedupConfig(content_getter=lambda document: document.text)

    def run():
        ExactDedupSignature(os.path.join(out, "sig"), config=config).run(iter(documents), rank=0, world_size=1)
        ExactFindDedups(os.path.join(out, "sig"), os.path.join(out, "dups"), config=config).run(None, rank=0, world_size=1)
        return count(ExactDedupFilter(os.path.join(out, "dups"), config=config).run(iter(documents), rank=0, world_size=1))

    return run


def datasets_task(kind):
    import datasets

    datasets.disable_progress_bars()
    datasets.disable_caching()
    loaded = datasets.load_dataset("parquet", data_files=os.path.join(folder, "rows.parquet"), split="train", cache_dir=os.path.join(folder, "hf"))
    if kind == "map":
        return lambda: loaded.map(lambda row: {"length": len(row["text"])}).num_rows
    return lambda: loaded.filter(lambda row: len(row["text"]) > 1500).num_rows


TASKS = {
    "read jsonl.zst": lambda: read("zst"),
    "read parquet": lambda: read("parquet"),
    "write jsonl.zst": lambda: write("zst"),
    "write parquet": lambda: write("parquet"),
    "gopher": gopher,
    "minhash": minhash,
    "exact": exact,
    "datasets map": lambda: datasets_task("map"),
    "datasets filter": lambda: datasets_task("filter"),
}

with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    run = TASKS[task]()
    wall, processor = time.perf_counter(), time.process_time()
    rows = run()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
print(json.dumps({"wall": wall, "processor": processor, "rows": rows}))
