"""`vipnp atlas`: mixing from point to plane at equal parameters, side by side."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vipnp.cli.errors import told
from vipnp.cli.paths import path

if TYPE_CHECKING:
    from vipnp.core import HostArray
    from vipnp.data import DataSet
    from vipnp.explain.atlas import Trained
    from vipnp.models import ViPConfig

PATCHES: Mapping[str, int] = {"digits": 1, "phototiles": 4}
"""The data sets, and the patch that makes 8 x 8 tokens of an image."""

TABLE, PICTURE = "atlas.csv", "atlas.png"

BATCH = 64
LEARNING_RATE = 2e-3
FIELD_IMAGES = 64
"""Images over which a receptive field is the mean."""
TURNS = 25
"""Steps of each mixing whose time is taken."""


@told()
def atlas(
    output: Annotated[
        Path, typer.Option("--output", "-o", parser=path, help="Folder for atlas.png and atlas.csv.")
    ] = Path("atlas"),
    epochs: Annotated[int, typer.Option(help="Passes over digits; over phototiles a quarter of them.", min=1)] = 8,
    seeds: Annotated[int, typer.Option(help="Models of each kind.", min=1)] = 3,
    data: Annotated[list[str] | None, typer.Option(help="digits, phototiles, or both (given twice).")] = None,
) -> None:
    """Train the same network with four mixings, and draw what they see and reach."""
    from vipnp.core.checks import check_library, one_line
    from vipnp.core.files import check_output_folder, check_outputs, write_text
    from vipnp.data import load_data_set
    from vipnp.explain.atlas import draw, table
    from vipnp.layers import MIXINGS

    names = list(dict.fromkeys(data or PATCHES))  # once each: a set that is given twice is no other
    for name in names:
        if name not in PATCHES:
            raise ValueError(f"--data: got {name!r}, expected one of {', '.join(PATCHES)}")
    check_library("atlas", "matplotlib.figure", extra="train")
    check_output_folder("--output", output)
    output.mkdir(parents=True, exist_ok=True)
    check_outputs({f"--output: {name}": output / name for name in (TABLE, PICTURE)})
    check_replaceable(output)
    found: list[Trained] = []
    for name in names:
        images = load_data_set(name)
        passes = epochs if name == "digits" else max(1, epochs // 4)
        seconds = step_seconds(name, images)
        for mixing in MIXINGS:
            for seed in range(seeds):
                found.append(train_one(name, images, mixing, seed, passes, seconds[mixing]))
                last = found[-1]
                try:
                    write_text(output / TABLE, table(found))  # first, so that a closed pipe loses no model
                finally:
                    typer.echo(f"{name} {mixing} seed {seed}: {last.accuracy:.1%}, {1000 * last.seconds:.1f} ms a step")
    draw(output / PICTURE, found)
    typer.echo(one_line(f"see {output / PICTURE}"))


def check_replaceable(folder: Path) -> None:
    """Raise ValueError where a table and a picture in `folder` would replace others than those of an atlas."""
    from vipnp.explain.atlas import COLUMNS

    there = [name for name in (TABLE, PICTURE) if (folder / name).exists()]
    ours = ",".join(COLUMNS)
    if there and not ((folder / TABLE).is_file() and (folder / TABLE).read_text("utf-8", "replace").startswith(ours)):
        raise ValueError(
            f"--output: {folder} holds {', '.join(there)} and no table of vipnp atlas: they would be replaced; take "
            "another folder"
        )


def mixing_config(data: str, mixing: str, size: tuple[int, int], classes: int) -> ViPConfig:
    """Two blocks on 8 x 8 tokens of 64 channels in 8 segments: every branch of every mixing has 64 x 64 weights."""
    from vipnp.layers import MIXINGS
    from vipnp.models import ViPConfig

    return ViPConfig(
        layers=(2,),
        embed_dims=(64,),
        segments=(8,),
        transitions=(False,),
        patch_size=PATCHES[data],
        image_size=size,
        num_classes=classes,
        in_channels=1,
        mlp_ratio=1,
        branches=MIXINGS[mixing],
    )


def step_seconds(name: str, data: DataSet) -> dict[str, float]:
    """The processor time of a training step of every mixing, the least of `TURNS`; they take turns."""
    from vipnp import VisionPermutator
    from vipnp.layers import MIXINGS
    from vipnp.optim import AdamW

    images, labels = _images(data.train.pixels)[:BATCH], data.train.labels[:BATCH]
    config = [mixing_config(name, mixing, (images.shape[2], images.shape[3]), len(data.classes)) for mixing in MIXINGS]
    models = [VisionPermutator(one, backend="numpy") for one in config]
    optimizers = [AdamW(model.backend) for model in models]
    times: dict[str, list[float]] = {mixing: [] for mixing in MIXINGS}
    for _ in range(TURNS):
        for mixing, model, optimizer in zip(MIXINGS, models, optimizers, strict=True):
            began = time.process_time()
            _, gradients = model.loss_and_grads(images, labels)
            model.set_parameters(optimizer.update(model.parameters(), gradients, lr=LEARNING_RATE))
            times[mixing].append(time.process_time() - began)
    return {mixing: min(of) for mixing, of in times.items()}


def train_one(name: str, data: DataSet, mixing: str, seed: int, epochs: int, seconds: float) -> Trained:
    """AdamW on one cycle of the cosine, with the readable ops on NumPy for all mixings alike."""
    import numpy as np

    from vipnp import VisionPermutator
    from vipnp.explain import receptive_fields, watched
    from vipnp.explain.atlas import Trained
    from vipnp.optim import AdamW, cosine_lr
    from vipnp.train import evaluate, train_epoch

    images, held_out = (_images(split.pixels) for split in (data.train, data.validation))
    config = mixing_config(name, mixing, (images.shape[2], images.shape[3]), len(data.classes))
    model = VisionPermutator(config, backend="numpy", seed=seed)

    def fields() -> list[HostArray]:
        twin, tape = watched(model)
        twin.vjp(held_out[:: max(1, len(held_out) // FIELD_IMAGES)][:FIELD_IMAGES])
        return receptive_fields(tape, config.patch_size)

    before = fields()
    optimizer = AdamW(model.backend, weight_decay=0.05)
    rng = np.random.default_rng(seed)
    for epoch in range(epochs):
        train_epoch(
            model,
            optimizer,
            images,
            data.train.labels,
            batch_size=BATCH,
            lr=cosine_lr(epoch, epochs=epochs, lr=LEARNING_RATE),
            rng=rng,
            label_smoothing=0.1,
            max_norm=1.0,
        )
    accuracy = evaluate(model, held_out, data.validation.labels, batch_size=256).accuracy
    return Trained(name, mixing, seed, model.num_parameters, model.macs, accuracy, seconds, before, fields())


def _images(pixels: HostArray | None) -> HostArray:
    """Grey pictures as images in [-1, 1]."""
    import numpy as np

    assert pixels is not None
    return (pixels[:, None] / np.float32(127.5) - 1).astype(np.float32)
