"""`vipnp eval`."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Annotated

import typer

from vipnp.cli.errors import tell, told
from vipnp.cli.paths import path
from vipnp.cli.unreadable import SkipUnreadable, naming_the_way_out


@told()
def evaluate(
    model: Annotated[str, typer.Argument(help="A run folder, a weight file, or a published name with --weights.")],
    data: Annotated[
        str | None,
        typer.Option(help="Other images: of a folder of classes the part that the run would hold out, or --all."),
    ] = None,
    weights: Annotated[Path | None, typer.Option(parser=path, help="Weights of a published model.")] = None,
    take_all: Annotated[bool, typer.Option("--all", help="All images of the folder in --data.")] = False,
    backend: Annotated[str, typer.Option(help="numba, numpy or cupy.")] = "numba",
    workers: Annotated[int, typer.Option("--workers", "-j", help="Threads that decode images.", min=0)] = 2,
    skip_unreadable: SkipUnreadable = False,
) -> None:
    """Evaluate a trained model; writes eval-DATE/ into the run folder, or beside the weights."""
    import numpy as np

    from vipnp.core.checks import check_library, listed, one_line
    from vipnp.core.files import check_output_folder, new_folder
    from vipnp.data import load_data_set
    from vipnp.data.images import UnreadableImageError
    from vipnp.data.unreadable import told_of, without_unreadable
    from vipnp.train import confusion_matrix, report
    from vipnp.train.folder import check_unseen, files_trained_on, images_of, told_of_others, trained_on
    from vipnp.train.prediction import predict
    from vipnp.train.saved import BEST, LAST, division_of, load_saved, weight_file
    from vipnp.train.settings import FILE, read_settings
    from vipnp.train.start import check_apart

    check_library("eval", "matplotlib.figure", extra="train")
    saved = load_saved(model, weights=weights, backend=backend)
    source = Path(model) if weights is None else weights
    folder = source if source.is_dir() else source.parent
    check_output_folder("model", folder)
    if data is None:
        if take_all:
            raise ValueError("--all: got no --data, expected a folder of other images than the run's own")
        elsewhere = f"evaluate others by vipnp eval {model} --data FOLDER"
        if not (folder / FILE).is_file():
            raise FileNotFoundError(f"run: {folder} holds no {FILE}, which says of what images: {elsewhere}")
        images = images_of(folder, read_settings(folder), otherwise=elsewhere)
        check_unseen(folder, images)
        if others := told_of_others(folder, images):
            tell(one_line(others))
    elif take_all:
        images = load_data_set(data, validation=1)
        if len(images.train):
            raise ValueError(f"--all: got {data}, which has a part for training, expected one folder of images a class")
    else:
        # Divided as for the run: of its own images, in another place, those that were trained on are left out again.
        division = division_of(weight_file("model", source))
        images = load_data_set(data, **division)
        if not division and images.train.root is not None and images.train.root == images.validation.root:
            tell(one_line(f"{source} does not say what it was trained on; where that is of {data}, give other images"))
    check_apart("model", folder, images)
    numbered = saved.model.classes is None and len(images.classes) == len(saved.classes)
    if numbered and images.classes != saved.classes:  # as of ImageNet, whose folders are in the order of its classes
        if list(images.classes) != sorted(images.classes):
            raise ValueError(f"data: {source} does not name its classes, and the folders stand in one order for people "
                             "and in another for programs (10 before 2, B before a): call them 0, 1, 2")  # fmt: skip
        tell(one_line(f"{source} does not name its classes: the folders are taken for them in order, from "
                      f"{images.classes[0]} for 0 to {images.classes[-1]} for {len(images.classes) - 1}"))  # fmt: skip
        saved = dataclasses.replace(saved, classes=images.classes)
    if unknown := [name for name in images.classes if name not in saved.classes]:
        raise ValueError(
            f"data: got classes that are not the model's: {listed(unknown)}; expected some of {listed(saved.classes)}"
        )
    if data is not None and (others := told_of(images.passed_over, images.classes)):
        tell(one_line(others))
    of_a_run = (folder / "split.csv").is_file() and (source.is_dir() or source.name in (BEST, LAST))
    known_in = files_trained_on if take_all else trained_on
    if data is not None and of_a_run and (known := known_in(folder, images)):
        tell(one_line(f"the run was trained on images of these names: {listed(known)}; if they are the same, the "
                      "accuracy is not that of images it has not seen"))  # fmt: skip
    split = images.validation
    if skip_unreadable:
        split, problems = without_unreadable(split, workers)
        for problem in problems:
            tell(one_line(f"skipped: {problem}"))
        if not len(split):
            raise ValueError(f"data: none of {len(images.validation)} images can be read")
    labels = np.array([saved.classes.index(name) for name in images.classes])[split.labels]
    try:
        logits = predict(saved.model, split, saved.transform, workers=workers)
    except UnreadableImageError as error:
        raise naming_the_way_out(error) from error
    answers = logits.argmax(axis=1)
    counts = confusion_matrix(labels, answers, len(saved.classes))
    accuracy = f"accuracy {float(np.mean(answers == labels)):.2%} on {len(split)} images"
    if data is not None and not take_all:
        accuracy += f" held out of {len(images.validation) + len(images.train)}"
    if len(images.classes) < len(saved.classes):
        accuracy += f", of {len(images.classes)} of the model's {len(saved.classes)} classes"
    try:
        output = new_folder(folder / time.strftime("eval-%Y%m%d-%H%M%S"))
        report.predictions(output / "predictions.csv", split.names, labels, logits, saved.classes)
        report.per_class(output / "per_class.csv", counts, saved.classes)
        report.confusion(output / "confusion.png", counts, saved.classes)
        least = report.worst(labels, logits)
        seen = [saved.transform.evaluation(split.picture(i, saved.transform.channels)) for i in least]
        report.gallery(
            output / "worst.png",
            [saved.transform.pixels(x) for x in seen],
            [report.answer_beside_truth(split.names[i], labels[i], logits[i], saved.classes) for i in least],
        )
    except OSError:
        typer.echo(one_line(accuracy))  # a full disk costs the details alone
        raise
    typer.echo(one_line(f"{accuracy}; details in {output}"))
