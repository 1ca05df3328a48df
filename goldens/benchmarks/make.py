"""What the own scripts of benchmarks' authors say of small rows of our own: AUTHORS=FOLDER python make.py.

FOLDER has a checkout of each repository below, by the second half of its name, at the commit; what a checkout is missing for is copied as it is.
"""

import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from golden import output_folder, write_json  # noqa: E402

sys.path.insert(0, str(HERE))
import instructions  # noqa: E402

# File -> repository, commit and what reads its checkout.
FILES = {
    "ifbench": ("allenai/IFBench", "db69a6f05689830b0068b8f1529ebcfd2f3b164c", instructions.run),
}

if __name__ == "__main__":
    out = output_folder(__file__)
    for name, (repository, commit, make) in FILES.items():
        checkout = Path(os.environ.get("AUTHORS", HERE)) / repository.split("/")[1]
        if checkout.is_dir():
            write_json(out / f"{name}.json", {"repository": repository, "commit": commit, **make(checkout)})
        elif out != HERE:
            shutil.copy(HERE / f"{name}.json", out)
