"""Re-makes the goldens in a temporary folder and compares them with the committed ones."""

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

from environments import lacking, requirements_of, subjects, title

ROOT = Path(__file__).resolve().parent
TOLERANCE = 1e-5


def differences(a, b, where: str) -> list[str]:
    if isinstance(a, dict) and isinstance(b, dict):
        if a.keys() != b.keys():
            return [f"{where}: keys differ: {sorted(a.keys() ^ b.keys())}"]
        return [text for key in a for text in differences(a[key], b[key], f"{where}.{key}")]
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return [f"{where}: lengths {len(a)} and {len(b)}"]
        return [text for index, pair in enumerate(zip(a, b)) for text in differences(*pair, f"{where}[{index}]")]
    if isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        return []
    return [] if type(a) is type(b) and a == b else [f"{where}: {a!r} and {b!r}"]


def tensors(path: Path) -> tuple[dict, dict]:
    # Goldens without tensors are made where there is neither torch nor safetensors.
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()


def compare(old: Path, new: Path) -> list[str]:
    if old.suffix == ".json":
        return differences(json.loads(old.read_text()), json.loads(new.read_text()), old.name)
    if old.suffix == ".safetensors":
        import torch

        (a, a_metadata), (b, b_metadata) = tensors(old), tensors(new)
        if a.keys() != b.keys() or a_metadata != b_metadata:
            return [f"{old.name}: names or metadata differ"]
        wrong = []
        for name in a:
            same = a[name].shape == b[name].shape and a[name].dtype == b[name].dtype
            if not same or not torch.allclose(a[name].double(), b[name].double(), TOLERANCE, TOLERANCE, equal_nan=True):
                wrong.append(f"{old.name}: {name}")
        return wrong
    return [] if old.read_bytes() == new.read_bytes() else [f"{old.name}: bytes differ"]


def main() -> None:
    named = sys.argv[1:]
    problems, same = [], []
    for name in named or subjects():
        other, absent = lacking(name)
        # Who names a subject may know that it needs only some of the packages.
        if other or (absent and not named):
            text = f"{name}: needs {title(requirements_of(name))} (not here: {', '.join(other + absent)})"
            if named:
                problems.append(text)
            else:
                print(f"left out {text}")
            continue
        before = len(problems)
        with tempfile.TemporaryDirectory() as temporary:
            subprocess.run([sys.executable, ROOT / name / "make.py", "--out", temporary], check=True, stdout=subprocess.DEVNULL)
            kept = {".py", ".pyc", ".md"}
            old = {path.relative_to(ROOT / name) for path in (ROOT / name).rglob("*") if path.is_file() and path.suffix not in kept and path.name != "requirements.txt"}
            new = {path.relative_to(temporary) for path in Path(temporary).rglob("*") if path.is_file()}
            problems += [f"{name}/{path}: only on one side" for path in sorted(old ^ new)]
            for path in sorted(old & new):
                problems += [f"{name}/{path.parent}/{text}" for text in compare(ROOT / name / path, Path(temporary) / path)]
        same += [name] if len(problems) == before else []
    print("\n".join([*problems, *([f"same: {' '.join(same)}"] if same else [])]))
    sys.exit(1 if problems or not same else 0)


if __name__ == "__main__":
    main()
