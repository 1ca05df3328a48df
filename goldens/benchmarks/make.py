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
import scripts  # noqa: E402

# File -> repository, commit and what reads its checkout.
FILES = {
    "ifbench": ("allenai/IFBench", "db69a6f05689830b0068b8f1529ebcfd2f3b164c", instructions.run),
    "dialogue-states": ("jasonwu0731/trade-dst", "b77fcf110af4fb286965966ce39e0d4f20d1d3b9", scripts.dialogue_states),
    "mt-bench": ("lm-sys/FastChat", "0e6d3e4beaab66f4d3f93db72541a4abab8af28d", scripts.mt_bench),
    "lr2bench": ("ZNLP/LR2Bench", "c426beb315492f478a4cffda71a4f7c030f4c287", scripts.lr2bench),
    "reward-bench": ("allenai/reward-bench", "05a9005efb607249822c193590c8ecab87c77052", scripts.reward_bench),
    "process-bench": ("QwenLM/ProcessBench", "e8024636bcabdf8bd514440551b531d3f90dd18b", scripts.process_bench),
    "prm-bench": ("ssmisya/PRMBench", "a1ae4eab803e14c4c6316bf89d1679b0486faa8c", scripts.prm_bench),
    "fact-score": ("shmsw25/FActScore", "f28272deffcf33efc1f1117d5479c10bb75221a9", scripts.fact_score),
    # Copies of centerforaisafety/hle and sylinrl/TruthfulQA.
    "hle": ("SamYuan1990/hle-agent", "ed86ecd9381857c65c29728c0097ee554ca803aa", scripts.hle),
    "truthful-qa": ("tberm/mlp_cw4", "450373266ee0eb87cbab691e6418782d60080b4e", scripts.truthful_qa),
    "toolcomp": ("vaskar-open-source-research/toolcomp", "8a9bffe1175e57c683dacdc119b9c71d22e231d4", scripts.toolcomp),
    "babilong": ("booydar/babilong", "7a6efee29f5cac03c3c410e6799c80fd2ffe3610", scripts.babilong),
    "ruler": ("NVIDIA/RULER", "c3f5e3b4f87f97e048793bb510a3a6b19a46bf3a", scripts.ruler),
    "graph-walks": ("EleutherAI/lm-evaluation-harness", "v0.4.13", scripts.graph_walks),
}
# Of packages that are installed.
PACKAGES = {"rankings": scripts.rankings, "hanna": scripts.hanna}

if __name__ == "__main__":
    out = output_folder(__file__)
    for name, (repository, commit, make) in FILES.items():
        checkout = Path(os.environ.get("AUTHORS", HERE)) / repository.split("/")[1]
        if checkout.is_dir():
            write_json(out / f"{name}.json", {"repository": repository, "commit": commit, **make(checkout)})
        elif out != HERE:
            shutil.copy(HERE / f"{name}.json", out)
    for name, make in PACKAGES.items():
        write_json(out / f"{name}.json", make(None))
