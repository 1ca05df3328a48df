"""Which requirements a folder of goldens is made with, and whether an environment has them.

usage: python goldens/environments.py resolve    every requirements file resolves, each in a fresh environment (pip, dry run)
       python goldens/environments.py check [SUBJECT ...]    check.py in an environment for each file, made on first use
"""

import os
import re
import subprocess
import sys
import tempfile
import venv
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PYTHON = (3, 11)
PIP = "pip==26.3"


def subjects() -> list[str]:
    return sorted(path.parent.name for path in ROOT.glob("*/make.py"))


def requirements_of(subject: str) -> Path:
    """The folder's own requirements.txt, or the common one."""
    own = ROOT / subject / "requirements.txt"
    return own if own.exists() else ROOT / "requirements.txt"


def groups(names: list[str]) -> dict[Path, list[str]]:
    """The subjects of each requirements file."""
    grouped: dict[Path, list[str]] = {}
    for name in names:
        grouped.setdefault(requirements_of(name), []).append(name)
    return grouped


def pins(file: Path) -> dict[str, str]:
    """Package -> version, the files that it includes with -r read too. Every line must pin one."""
    found: dict[str, str] = {}
    for line in file.read_text().splitlines():
        line = line.split("#")[0].strip()
        if line.startswith("-r "):
            found |= pins(file.parent / line[3:].strip())
        elif line:
            name, version = re.fullmatch(r"([\w.-]+)==([\w.]+)", line).groups()
            found[name] = version
    return found


def lacking(subject: str) -> tuple[list[str], list[str]]:
    """What this interpreter has in another version, and what it has not, as name==version."""
    other, absent = [], []
    for name, version in pins(requirements_of(subject)).items():
        try:
            # torch 2.15.0+cpu is torch 2.15.0.
            if metadata.version(name).split("+")[0] != version:
                other.append(f"{name}=={version}")
        except metadata.PackageNotFoundError:
            absent.append(f"{name}=={version}")
    return other, absent


def title(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def make_environment(folder: Path) -> Path:
    """A fresh virtual environment; returns its interpreter."""
    if sys.version_info[:2] != PYTHON:
        sys.exit(f"Python {'.'.join(map(str, PYTHON))} is needed, this is {sys.version.split()[0]}: set PYTHON to one")
    venv.create(folder, with_pip=True, clear=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", PIP], check=True)
    return python


def resolve() -> int:
    files = sorted({ROOT / "requirements.txt", *ROOT.glob("*/requirements.txt")})
    failed = []
    with tempfile.TemporaryDirectory() as temporary:
        python = make_environment(Path(temporary) / "venv")
        for file in files:
            # A dry run installs nothing, so the environment is as fresh for the next file; of wheels only metadata are read.
            status = subprocess.run([python, "-m", "pip", "install", "--dry-run", "--quiet", "-r", file]).returncode
            print(f"{title(file)}: {'no solution' if status else 'ok'} ({len(pins(file))} pins)", flush=True)
            failed += [file] if status else []
    return 1 if failed else 0


def check(names: list[str]) -> int:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "posttrain-goldens"
    statuses = []
    for file, group in groups(names or subjects()).items():
        folder = cache / title(file).replace("/", "-").removesuffix(".txt")
        stamp = folder / "installed.txt"
        wanted = "\n".join(f"{name}=={version}" for name, version in pins(file).items())
        if not stamp.exists() or stamp.read_text() != wanted:
            print(f"installing {title(file)} into {folder}", flush=True)
            python = make_environment(folder)
            subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", file], check=True)
            stamp.write_text(wanted)
        python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
        statuses.append(subprocess.run([python, ROOT / "check.py", *group]).returncode)
    return max(statuses)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["resolve"]:
            sys.exit(resolve())
        case ["check", *names]:
            sys.exit(check(names))
        case _:
            sys.exit(__doc__)
