"""What single files of the authors' repositories give for tables in the place of models: AUTHORS=FOLDER python make.py.

FOLDER has a checkout of each repository below, by the second half of its name, at the commit; of a checkout only the files that are named here are read, and
what they import beside numpy and torch is stood in for. What a checkout is missing for is copied as it is.
"""

import os
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from golden import output_folder, write_json  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parent))
import agents  # noqa: E402
import choices  # noqa: E402
import curation  # noqa: E402
import rewards  # noqa: E402
import rows  # noqa: E402
import searches  # noqa: E402

COMMITS = {
    "ShishirPatil/gorilla": "6ea57973c7a6097fd7c5915698c54c17c5b1b6c8",
    "shizhediao/R-Tuning": "27e0384a0142b0f4e09bcdef9b216f432923fd4c",
    "adap/flower": "fdef7afb1dca3030553be302366cfd285ed6632c",
    "PRIME-RL/ImplicitPRM": "c04417559fdbd59738187c613c6c31821e964431",
    "cmu-l3/l1": "93dd330102f49450e1bc8227ad8979f8b5482e44",
    "huggingface/open-r1": "1416fa0cf21595d2083b399a2a0bbddd7f6e9563",
    "iie-ycx/DEER": "c9dd19fbffa27f841cfe47502d015b63811b4d1b",
    "yayayacc/MUR": "2d3a8f428980c8ef719f0321f4dc2672ad02d031",
    "HyperPotatoNeo/RSA": "537ec6065f21a5d128a164d14c0de6f4ed79de1f",
    "reasoning-machines/pal": "f81ca2a9777f002f98a6b4d0f10b61bd5c8feb02",
    "imagination-research/sot": "54f506fee30b762f794321f56d9fc1daeac438bf",
    "ysymyth/ReAct": "6bdb3a1fd38b8188fc7ba4102969fe483df8fdc9",
    "noahshinn/reflexion": "218cf0ef1df84b05ce379dd4a8e47f17766733a0",
    "huggingface/llm-swarm": "c3249dbfd060befa36e51048b4c632dbb00eec64",
    "openreasoner/openr": "54ae004c69623ebb9a97b22211d6b236033a710d",
    "CyberAgentAILab/regularized-bon": "e1790a8ae016842ce2c9ed3f7d485725c58f1846",
    "SecureAIAutonomyLab/MA-ToT": "e861423ecdf26ed76cf05b9127e2aef2b06facd3",
    "WooooDyy/Self-Polish": "d8d896dd93cabf54959216a9f863a7d277be5283",
    "PRIME-RL/PRIME": "18ad596f08d487bb546d80d738d99ec697bd2e75",
    "yangkevin2/naacl-2021-fudge-controlled-generation": "32c60893d9e03502197e2b6856b32516a4742a04",
    "ULTR-Community/ULTRA_pytorch": "1757587f369336ac5b76c48f9805e4e921597a3b",
    "Rafa-zy/QLASS": "6f2cdf49f7f030c6604e9678d9db8ac4abe00fee",
    "iamhankai/Forest-of-Thought": "97bdbabe6d7abd0a8fdeb6550ab197225b7ccfa2",
    "kojima-takeshi188/zero_shot_cot": "5ef330fcdeec0cd26aee27943504f91f8ec1c33c",
    "amazon-science/auto-cot": "ec9caa32a69cfd7203c33df76d31cb48e726d6a7",
    "nishadsinghi/sc-genrm-scaling": "1d310ee8883b6cb3eeee7d3d302bddd0c90e716c",
    "yizhongw/self-instruct": "0b26ccaa415992100fa32df62d41b994cf928e23",
    "meta-math/MetaMath": "fe667b14f9a4c51bde9809adafb82b6b5d255800",
    "OpenBMB/UltraFeedback": "bf80fd46a8c6ceecc86e8babb1ae8771f26a3cbb",
    "Spico197/Humpback": "a14814a844b2e263d07b3431a7512a1600e03fae",
    "gpt4life/alpagasus": "95ad3e52510df8c0a2f0dd6cbe50b501acde83a1",
    "OFA-Sys/gsm8k-ScRel": "25d2c4048f00aff72945ff8959a9fb22ed6e757f",
    "ezelikman/STaR": "6ffd3c4743da6c7a7369834c434359d9f7e0ac38",
    "hkust-nlp/deita": "b279f2c329b403d2612a61e270c8d2a2eeaed6f4",
    "princeton-nlp/LESS": "8abf9628b9a814ac3045445eebc8ba3c908fdc78",
    "tianyi-lab/Superfiltering": "f0764afa536ec910b994d1d6aa2b883354505f4f",
    "tianyi-lab/Cherry_LLM": "01fac8d2febb51dbd1501ec594a20e499b51fe7d",
    "simplescaling/s1": "77272c6e925d610257a50b520bad15330b513389",
    "sangmichaelxie/doremi": "7cde52d1848737aa967ecbdb9e643cf334de160d",
}

# File -> repository and what reads its checkout.
FILES = {
    "raft": ("ShishirPatil/gorilla", rows.raft),
    "r-tuning": ("shizhediao/R-Tuning", rows.r_tuning),
    "federated": ("adap/flower", rows.federated),
    "implicit-prm": ("PRIME-RL/ImplicitPRM", rewards.implicit_prm),
    "lcpo": ("cmu-l3/l1", rewards.lcpo),
    "format": ("huggingface/open-r1", rewards.format_tags),
    "deer": ("iie-ycx/DEER", searches.deer),
    "mur": ("yayayacc/MUR", searches.mur),
    "self-aggregation": ("HyperPotatoNeo/RSA", searches.self_aggregation),
    "programs": ("reasoning-machines/pal", searches.programs),
    "skeletons": ("imagination-research/sot", searches.skeletons),
    "react": ("ysymyth/ReAct", agents.react),
    "reflexion": ("noahshinn/reflexion", agents.reflexion),
    "constitution": ("huggingface/llm-swarm", rows.constitution),
    "omega-prm": ("openreasoner/openr", rows.omega_prm),
    "regularized": ("CyberAgentAILab/regularized-bon", choices.regularized),
    "multi-agent": ("SecureAIAutonomyLab/MA-ToT", choices.agents),
    "self-polish": ("WooooDyy/Self-Polish", choices.versions),
    "cross-entropy": ("PRIME-RL/PRIME", rewards.cross_entropy),
    "fudge": ("yangkevin2/naacl-2021-fudge-controlled-generation", rewards.fudge),
    "propensities": ("ULTR-Community/ULTRA_pytorch", rewards.propensities),
    "q-values": ("Rafa-zy/QLASS", choices.q_values),
    "forests": ("iamhankai/Forest-of-Thought", choices.forests),
    "zero-shot": ("kojima-takeshi188/zero_shot_cot", choices.zero_shot),
    "demonstrations": ("amazon-science/auto-cot", choices.demonstrations),
    "verdicts": ("nishadsinghi/sc-genrm-scaling", choices.verdicts),
    "self-instruct": ("yizhongw/self-instruct", curation.self_instruct),
    "meta-math": ("meta-math/MetaMath", curation.meta_math),
    "ultra-feedback": ("OpenBMB/UltraFeedback", curation.ultra_feedback),
    "humpback": ("Spico197/Humpback", curation.humpback),
    "alpagasus": ("gpt4life/alpagasus", curation.alpagasus),
    "rft": ("OFA-Sys/gsm8k-ScRel", curation.rft),
    "star": ("ezelikman/STaR", curation.star),
    "deita": ("hkust-nlp/deita", curation.deita),
    "less": ("princeton-nlp/LESS", curation.less),
    "superfiltering": ("tianyi-lab/Superfiltering", curation.superfiltering),
    "cherry": ("tianyi-lab/Cherry_LLM", curation.cherry),
    "s1": ("simplescaling/s1", curation.s1),
    "doremi": ("sangmichaelxie/doremi", curation.doremi),
}

if __name__ == "__main__":
    out = output_folder(__file__)
    here = Path(__file__).resolve().parent
    for name, (repository, make) in FILES.items():
        checkout = Path(os.environ.get("AUTHORS", here)) / repository.split("/")[1]
        if checkout.is_dir():
            write_json(out / f"{name}.json", {"repository": repository, "commit": COMMITS[repository], **make(checkout)})
        elif out != here:
            shutil.copy(here / f"{name}.json", out)
