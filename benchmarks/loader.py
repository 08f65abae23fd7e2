"""A folder of JPEG files as batches of 224 x 224 pixels with the published recipe's augmentation, beside PyTorch's
DataLoader with torchvision's transforms on Pillow.

python benchmarks/loader.py                       two workers: threads here, processes there
python benchmarks/loader.py --workers 4 --images 512 --rounds 3

torchvision: pip install --no-deps torchvision==0.28.0 (only its transforms are used, not its compiled operations).
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from vipnp.data import Transform, load_data_set, stream
from vipnp.data.loader import batches
from vipnp.data.transforms import IMAGENET_MEAN, IMAGENET_STD, erase_at_random

BATCH, SIDE, REPROB = 32, 224, 0.25


def make_folder(folder: Path, images: int) -> Path:
    """JPEG files of 500 x 375 pixels, cut from photographs that scikit-image carries."""
    from skimage import data

    photographs = [np.asarray(getattr(data, name)()) for name in ("astronaut", "chelsea", "coffee", "rocket")]
    rng = np.random.default_rng(0)
    for i in range(images):
        photograph = Image.fromarray(photographs[i % len(photographs)])
        side = int(rng.integers(150, min(photograph.size)))
        left, top = (int(rng.integers(0, n - side + 1)) for n in photograph.size)
        kind = folder / f"class{i % len(photographs)}"
        kind.mkdir(exist_ok=True)
        photograph.crop((left, top, left + side, top + side)).resize((500, 375)).save(kind / f"{i}.jpg", quality=90)
    return folder


def ours(folder: Path, workers: int) -> float:
    """Images a second."""
    data = load_data_set(folder, validation=0.01).train
    transform = Transform((SIDE, SIDE), aa="rand-m9-mstd0.5-inc1", exif=False)

    def sample(index: int) -> np.ndarray:
        rng = stream(0, "augment", 0, index)
        return erase_at_random(transform.training(data.picture(index, 3), rng), rng, REPROB)

    order = np.random.default_rng(0).permutation(len(data))
    began = time.perf_counter()
    count = sum(len(x) for _, x in batches(sample, np.split(order, range(BATCH, len(order), BATCH)), workers))
    return count / (time.perf_counter() - began)


def torchs(folder: Path, workers: int) -> float:
    """Images a second, with the start of its processes, as ours are with that of the threads."""
    import torch

    register, torch.library.register_fake = torch.library.register_fake, lambda *_, **__: lambda function: function
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    torch.library.register_fake = register
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIDE, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.RandomHorizontalFlip(),
            transforms.RandAugment(2, 9, interpolation=transforms.InterpolationMode.BICUBIC, fill=[124, 116, 104]),
            transforms.ToTensor(),
            transforms.Normalize(IMAGENET_MEAN, IMAGENET_STD),
            transforms.RandomErasing(REPROB, value="random"),
        ]
    )
    data = ImageFolder(str(folder), transform)
    loader = torch.utils.data.DataLoader(
        data, BATCH, shuffle=True, num_workers=workers, worker_init_fn=lambda _: torch.set_num_threads(1)
    )
    began = time.perf_counter()
    count = sum(len(x) for x, _ in loader)
    return count / (time.perf_counter() - began)


def main(images: int, workers: int, rounds: int) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as place:
        folder = make_folder(Path(place), images)
        found = [(ours(folder, workers), torchs(folder, workers)) for _ in range(rounds)]
    for mine, theirs in found:
        print(f"{mine:7.1f} images/s, DataLoader {theirs:7.1f}: {mine / theirs:.2f} times")
    print(f"median {np.median([mine / theirs for mine, theirs in found]):.2f} times with {workers} workers each")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    main(arguments.images, arguments.workers, arguments.rounds)
