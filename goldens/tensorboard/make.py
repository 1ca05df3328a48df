"""Event files as TensorBoard's own writer makes them, and the scalars that TensorBoard reads from them: `expected.json`."""

import io
import struct
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: E402
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # noqa: E402
from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: E402

# Seconds with few binary digits, so that adding them up is exact.
START, TICK = 1_700_000_000.5, 0.25


def event(wall_time: float, spec: dict) -> Event:
    message = Event(wall_time=wall_time)
    if spec.get("step"):
        message.step = spec["step"]
    if "fileVersion" in spec:
        message.file_version = spec["fileVersion"]
    if spec.get("isRestart"):
        message.session_log.status = SessionLog.START
    for tag, value in spec.get("scalars", {}).items():
        message.summary.value.add(tag=tag, simple_value=value)
    return message


def file_of(specs: list[dict], start: float) -> dict:
    out = io.BytesIO()
    writer = RecordWriter(out)
    events = []
    for i, spec in enumerate(specs):
        wall_time = start + TICK * i
        writer.write(event(wall_time, spec).SerializeToString())
        events.append({"wallTime": wall_time, **spec})
    return {"events": events, "hex": out.getvalue().hex()}


def log(step: int, loss: float) -> dict:
    return {"step": step, "scalars": {"train/loss": loss, "train/learning_rate": 2e-5 * step}}


def scalars(files: list[bytes]) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        for i, data in enumerate(files):
            (Path(folder) / f"events.out.tfevents.{i:010}.host.1.0").write_bytes(data)
        accumulator = EventAccumulator(folder)
        accumulator.Reload()
        return {
            tag: [[x.step, struct.unpack("f", struct.pack("f", x.value))[0]] for x in accumulator.Scalars(tag)]
            for tag in sorted(accumulator.Tags()["scalars"])
        }


HEAD = {"fileVersion": "brain.Event:2"}
first = file_of(
    [
        HEAD,
        {"step": 0, "isRestart": True},
        {"step": 0, "scalars": {"eval/loss": 4.5}},
        *[log(step, 4 / step) for step in range(1, 5)],
        {"step": 4, "scalars": {"eval/loss": 1.125, "eval/rewards/chosen": -0.3}},
    ],
    START,
)
# Killed after four steps, with a checkpoint of two.
second = file_of([HEAD, {"step": 3, "isRestart": True}, *[log(step, 8 / step) for step in range(3, 301, 99)]], START + 60)
data = [bytes.fromhex(one["hex"]) for one in (first, second)]
write_json(
    output_folder(__file__) / "expected.json",
    {
        "files": [first, second],
        "scalars": scalars(data),
        # The second file ends within its last record, as that of a process that was killed while it wrote.
        "scalars_of_cut": scalars([data[0], data[1][:-7]]),
    },
)
