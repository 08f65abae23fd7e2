"""From the start of a process to the classes of one photograph by vip_s7: `vipnp predict` beside a script of PyTorch.

python benchmarks/one_photo.py                 seven rounds, one process of each in turn

Both read the same .pth file and the same JPEG file. The weights are random: an answer takes as long.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

import vipnp
from vipnp.checkpoint import save_pytorch

ROOT = Path(__file__).resolve().parent.parent

SCRIPT = """
import sys
import torch
from PIL import Image
from vip_in_torch import vip_s7
model = vip_s7()
model.load_state_dict(torch.load(sys.argv[1], weights_only=True))
model.eval()
photo = Image.open(sys.argv[2]).convert("RGB")
short = min(photo.size)
photo = photo.resize([248 * side // short for side in photo.size], Image.Resampling.BICUBIC)
left, top = (round((side - 224) / 2) for side in photo.size)
photo = photo.crop((left, top, left + 224, top + 224))
x = torch.frombuffer(bytearray(photo.tobytes()), dtype=torch.uint8).reshape(224, 224, 3).permute(2, 0, 1) / 255
x = (x - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
with torch.inference_mode():
    p, classes = model(x[None]).softmax(1)[0].topk(5)
print(", ".join(f"{number} {share:.1%}" for number, share in zip(classes.tolist(), p.tolist())))
"""

MODEL = """
import torch
from torch import nn


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)

    def forward(self, x):
        return self.fc2(self.act(self.fc1(x)))


class Permute(nn.Module):
    def __init__(self, width, segments):
        super().__init__()
        self.segments = segments
        self.mlp_c, self.mlp_h, self.mlp_w = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.reweight, self.proj = Mlp(width, width // 4), nn.Linear(width, width)
        self.reweight.fc2 = nn.Linear(width // 4, 3 * width)

    def forward(self, x):
        b, h, w, c = x.shape
        n = self.segments
        s = c // n
        vertical = x.reshape(b, h, w, n, s).permute(0, 3, 2, 1, 4).reshape(b, n, w, h * s)
        vertical = self.mlp_h(vertical).reshape(b, n, w, h, s).permute(0, 3, 2, 1, 4).reshape(b, h, w, c)
        horizontal = x.reshape(b, h, w, n, s).permute(0, 1, 3, 2, 4).reshape(b, h, n, w * s)
        horizontal = self.mlp_w(horizontal).reshape(b, h, n, w, s).permute(0, 1, 3, 2, 4).reshape(b, h, w, c)
        channels = self.mlp_c(x)
        a = (vertical + horizontal + channels).permute(0, 3, 1, 2).flatten(2).mean(2)
        a = self.reweight(a).reshape(b, c, 3).permute(2, 0, 1).softmax(0).unsqueeze(2).unsqueeze(2)
        return self.proj(vertical * a[0] + horizontal * a[1] + channels * a[2])


class Block(nn.Module):
    def __init__(self, width, segments):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Permute(width, segments)
        self.norm2, self.mlp = nn.LayerNorm(width), Mlp(width, 3 * width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Down(nn.Module):
    def __init__(self, width, wider):
        super().__init__()
        self.proj = nn.Conv2d(width, wider, 2, 2)

    def forward(self, x):
        return self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class Patches(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj = nn.Conv2d(3, width, 7, 7)

    def forward(self, x):
        return self.proj(x).permute(0, 2, 3, 1)


class Vip(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch_embed = Patches(192)
        self.network = nn.ModuleList(
            [
                nn.Sequential(*(Block(192, 32) for _ in range(4))),
                Down(192, 384),
                *(nn.Sequential(*(Block(384, 16) for _ in range(depth))) for depth in (3, 8, 3)),
            ]
        )
        self.norm, self.head = nn.LayerNorm(384), nn.Linear(384, 1000)

    def forward(self, x):
        x = self.patch_embed(x)
        for part in self.network:
            x = part(x)
        return self.head(self.norm(x).flatten(1, 2).mean(1))


def vip_s7():
    return Vip()
"""


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "vip_in_torch.py").write_text(MODEL)
        (folder / "script.py").write_text(SCRIPT)
        rng = np.random.default_rng(0)
        Image.fromarray(rng.integers(0, 256, (375, 500, 3)).astype(np.uint8)).resize((1000, 750)).save(
            folder / "photo.jpg"
        )
        model = vipnp.create_model("vip_s7", backend="numpy", seed=0)
        save_pytorch(folder / "vip_s7.pth", model.state_dict())
        ours = [
            sys.executable,
            "-c",
            "from vipnp.cli import app; app()",
            "predict",
            "vip_s7",
            str(folder / "photo.jpg"),
        ]
        commands = {
            "vipnp predict": [*ours, "--weights", str(folder / "vip_s7.pth")],
            "PyTorch": [
                sys.executable,
                str(folder / "script.py"),
                str(folder / "vip_s7.pth"),
                str(folder / "photo.jpg"),
            ],
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        answers = []
        for _ in range(rounds):
            for name, command in commands.items():
                began = time.perf_counter()
                done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
                seconds[name].append(time.perf_counter() - began)
                if len(seconds[name]) == 1:
                    print(f"{name}: {done.stdout.strip()[-160:]}")
                    answers.append(re.findall(r"\d+ \d+\.\d%", done.stdout))
        if len(answers[0]) != 5 or answers[0] != answers[1]:
            raise SystemExit(f"they do not see the same: {answers}")
    for name, found in seconds.items():
        print(f"{name}: {np.median(found):.2f} s, at least {min(found):.2f} s")
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    print(f"median ratio {np.median(ratios):.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    main(parser.parse_args().rounds)
