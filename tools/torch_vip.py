"""The Vision Permutator as PyTorch's users write it, with the official names: for comparison and for benchmarks."""

from __future__ import annotations

from typing import Any

from vipnp.layers import STANDARD_BRANCHES
from vipnp.models import ViPConfig

Tensor = Any


def torch_vip(config: ViPConfig) -> Any:
    """The Vision Permutator as a `torch.nn.Module` with the official parameter names, in PyTorch's usual form.

    Without drop path and dropout: for benchmarks, and for weights that PyTorch wrote. Its weights are PyTorch's own
    initial ones.

    Raises ImportError where PyTorch is missing, ValueError for a fusion other than "weighted" or changed branches.
    """
    from torch import nn

    if config.fusion != "weighted" or config.branches != STANDARD_BRANCHES:
        raise ValueError(
            f"config: got fusion {config.fusion!r}, branches {config.branches}; expected the published ones"
        )

    class Mlp(nn.Module):
        def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
            super().__init__()
            self.fc1 = nn.Linear(inputs, hidden)
            self.act = nn.GELU()
            self.fc2 = nn.Linear(hidden, outputs)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc2(self.act(self.fc1(x)))

    class WeightedPermuteMLP(nn.Module):
        def __init__(self, height: int, width: int, channels: int, segments: int) -> None:
            super().__init__()
            self.segments = segments
            S = channels // segments
            self.mlp_c = nn.Linear(channels, channels, bias=False)
            self.mlp_h = nn.Linear(height * S, height * S, bias=False)
            self.mlp_w = nn.Linear(width * S, width * S, bias=False)
            self.reweight = Mlp(channels, channels // 4, channels * 3)
            self.proj = nn.Linear(channels, channels)

        def forward(self, x: Tensor) -> Tensor:
            B, H, W, C = x.shape
            N, S = self.segments, C // self.segments
            h = x.reshape(B, H, W, N, S).permute(0, 3, 2, 1, 4).reshape(B, N, W, H * S)
            h = self.mlp_h(h).reshape(B, N, W, H, S).permute(0, 3, 2, 1, 4).reshape(B, H, W, C)
            w = x.reshape(B, H, W, N, S).permute(0, 1, 3, 2, 4).reshape(B, H, N, W * S)
            w = self.mlp_w(w).reshape(B, H, N, W, S).permute(0, 1, 3, 2, 4).reshape(B, H, W, C)
            c = self.mlp_c(x)
            a = (h + w + c).permute(0, 3, 1, 2).flatten(2).mean(2)
            a = self.reweight(a).reshape(B, C, 3).permute(2, 0, 1).softmax(dim=0).unsqueeze(2).unsqueeze(2)
            return self.proj(h * a[0] + w * a[1] + c * a[2])

    class Permutator(nn.Module):
        def __init__(self, height: int, width: int, channels: int, segments: int) -> None:
            super().__init__()
            self.norm1 = nn.LayerNorm(channels)
            self.attn = WeightedPermuteMLP(height, width, channels, segments)
            self.norm2 = nn.LayerNorm(channels)
            self.mlp = Mlp(channels, config.mlp_ratio * channels, channels)

        def forward(self, x: Tensor) -> Tensor:
            if config.skip_lam == 1:  # no division by one: it would cost PyTorch a pass over every activation
                x = x + self.attn(self.norm1(x))
                return x + self.mlp(self.norm2(x))
            x = x + self.attn(self.norm1(x)) / config.skip_lam
            return x + self.mlp(self.norm2(x)) / config.skip_lam

    class PatchEmbed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.proj = nn.Conv2d(
                config.in_channels, config.embed_dims[0], kernel_size=config.patch_size, stride=config.patch_size
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.proj(x).permute(0, 2, 3, 1)

    class Downsample(nn.Module):
        def __init__(self, channels: int, outputs: int, patch: int) -> None:
            super().__init__()
            self.proj = nn.Conv2d(channels, outputs, kernel_size=patch, stride=patch)

        def forward(self, x: Tensor) -> Tensor:
            return self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    class VisionPermutator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.patch_embed = PatchEmbed()
            shapes = config.stages()
            network: list[nn.Module] = []
            for i, shape in enumerate(shapes):
                block = (shape.height, shape.width, shape.channels, shape.segments)
                network.append(nn.Sequential(*(Permutator(*block) for _ in range(shape.depth))))
                if shape.merge:
                    network.append(Downsample(shape.channels, shapes[i + 1].channels, shape.merge))
            self.network = nn.ModuleList(network)
            self.norm = nn.LayerNorm(shapes[-1].channels)
            self.head = nn.Linear(shapes[-1].channels, config.num_classes)

        def forward(self, images: Tensor) -> Tensor:
            x = self.patch_embed(images)
            for part in self.network:
                x = part(x)
            B, _, _, C = x.shape
            return self.head(self.norm(x.reshape(B, -1, C)).mean(1))

    return VisionPermutator()
