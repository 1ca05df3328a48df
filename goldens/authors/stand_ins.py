"""What the authors' files import and what is not run of it."""

import contextlib
import io
import json
import runpy
import sys
import types
from pathlib import Path
from unittest import mock


class StandIn(types.ModuleType):
    """A module that has whatever is asked of it, and does nothing."""

    __path__: list[str] = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *given, **_: None


def module(name: str, **attributes) -> StandIn:
    made = StandIn(name)
    vars(made).update(attributes)
    return made


@contextlib.contextmanager
def modules(*absent: str, **present):
    """Modules by name for as long as something is imported or run; dots of a name are double underscores."""
    given = {name: module(name) for name in absent} | {name.replace("__", "."): one for name, one in present.items()}
    with mock.patch.dict(sys.modules, given):
        yield


def run_script(path: Path, arguments: list[str], files: dict[str, str]) -> dict[str, str]:
    """Runs a file as a script that reads only `files`; what it writes, by path."""
    written: dict[str, str] = {}

    class Written(io.StringIO):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def close(self):
            written[self.name] = self.getvalue()
            super().close()

    def opened(name, mode="r", **_):
        return io.StringIO(files[str(name)]) if "r" in mode else Written(str(name))

    with (
        mock.patch("builtins.open", opened),
        mock.patch("os.makedirs"),
        mock.patch.object(sys, "argv", [str(path), *arguments]),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        # `runpy` reads the script through io.open_code, which is not stood in for.
        runpy.run_path(str(path), run_name="__main__")
    return written


def read_json(texts: dict[str, str], end: str):
    """The one that was written under a name with this end."""
    (text,) = [text for name, text in texts.items() if name.endswith(end)]
    return json.loads(text)
