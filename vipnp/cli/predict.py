"""`vipnp predict`."""

from __future__ import annotations

import csv as csv_module
from pathlib import Path
from typing import Annotated

import typer

from vipnp.cli.errors import tell, told
from vipnp.cli.paths import path
from vipnp.cli.unreadable import SkipUnreadable, naming_the_way_out


@told()
def predict(
    model: Annotated[
        str, typer.Argument(help="A run folder, a weight file of a run, or a published name with --weights.")
    ],
    images: Annotated[list[Path], typer.Argument(parser=path, help="Image files, or folders of them.")],
    weights: Annotated[Path | None, typer.Option(parser=path, help="Weights of a published model.")] = None,
    topk: Annotated[int, typer.Option(help="Answers an image.", min=1)] = 5,
    csv: Annotated[Path | None, typer.Option(parser=path, help="Write the answers to this CSV file.")] = None,
    json: Annotated[Path | None, typer.Option(parser=path, help="Write the answers to this JSON file.")] = None,
    backend: Annotated[str, typer.Option(help="numba, numpy or cupy.")] = "numpy",
    skip_unreadable: SkipUnreadable = False,
) -> None:
    """Say what is in images."""
    import numpy as np
    from scipy.special import softmax

    from vipnp.core.checks import one_line
    from vipnp.core.files import check_outputs, text_when_done, write_json, write_outputs
    from vipnp.core.output import is_standard_output
    from vipnp.data.images import UnreadableImageError, open_image
    from vipnp.data.sets import images_below, natural
    from vipnp.data.unreadable import told_of
    from vipnp.train.saved import files_of, load_saved

    outputs = {"--csv": csv, "--json": json}
    check_outputs(outputs, inputs=[*images, *files_of(model, weights)])
    saved = load_saved(model, weights=weights, backend=backend)
    files, passed_over = [], list[str]()
    for given in images:
        if given.is_dir():
            found = images_below(given, str(given), passed_over=passed_over)
            files += [Path(name) for name in sorted(found, key=natural)]
        elif given.is_file():
            files.append(given)
        else:
            gone = "is a link to what is not there" if given.is_symlink() else "is not there"
            what = "is a pipe or a device" if given.exists() else gone
            raise FileNotFoundError(f"images: {str(given)!r} {what}, expected an image or a folder of them")
    if passed_over:
        tell(one_line(told_of(passed_over)))
    if not files:
        raise ValueError("images: the folders hold no images")
    check_outputs(outputs, inputs=[*files, *files_of(model, weights)])
    topk = min(topk, len(saved.classes))
    rows: list[tuple[str, list[tuple[str, float]]]] = []

    def write_table(path: Path) -> None:
        with text_when_done(path) as handle:
            writer = csv_module.writer(handle)
            writer.writerow(("file", "rank", "class", "probability"))
            writer.writerows(
                (file, rank, name, f"{p:.6f}")
                for file, answers in rows
                for rank, (name, p) in enumerate(answers, start=1)
            )

    try:
        for file in files:
            try:
                picture = open_image(file, saved.transform.channels, exif=saved.transform.exif)
            except UnreadableImageError as error:
                if not skip_unreadable:
                    raise naming_the_way_out(error) from error
                tell(f"skipped: {one_line(str(error))}")
                continue
            x = saved.transform.evaluation(picture)[None].astype(saved.model.dtype)
            logits = saved.model.backend.to_numpy(saved.model(x))
            if not np.isfinite(logits).all():
                raise FloatingPointError(f"the logits of {file} are not finite")
            p = softmax(logits[0])
            best = np.argsort(-p, kind="stable")[:topk]
            rows.append((str(file), [(saved.classes[k], float(p[k])) for k in best]))
        if not rows:
            raise ValueError(f"images: none of {len(files)} can be read")
        content = [
            {"file": file, "answers": [{"class": c, "probability": p} for c, p in answers]} for file, answers in rows
        ]
        write_outputs(("--csv", csv, write_table), ("--json", json, lambda path: write_json(path, content)))
    finally:
        # Last, so that a closed pipe loses no file, and in any case: a full disk, a file that is no image and an
        # interrupt lose none of the answers that are there.
        for name, answers in rows:
            line = one_line(f"{name}: " + ", ".join(f"{answer} {p:.1%}" for answer, p in answers))
            typer.echo(line, err=is_standard_output(csv, json))
