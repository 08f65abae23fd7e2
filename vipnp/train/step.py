"""One step of training, as it comes or as a CUDA graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from vipnp.core import Array, Generator, HostArray
from vipnp.core.boundary import check_rng, receive_images, receive_labels_or_targets
from vipnp.core.checks import check_flag, check_real, shown
from vipnp.models import VisionPermutator
from vipnp.models.draws import draw_paths, path_masks
from vipnp.models.loss import loss_and_grads
from vipnp.optim import AdamW, AdamWState, clip_grad_norm


class Optimizer(Protocol):
    """What the loop asks of an optimiser, such as `SGD` and `AdamW`."""

    def update(self, params: Mapping[str, Array], grads: Mapping[str, Array], *, lr: float) -> dict[str, Array]:
        """One step.

        Parameters
        ----------
        params, grads : {name: array of the backend}.
        lr : learning rate.

        Returns
        -------
        dict
            {name: array}, the parameters after the step.
        """


def check_model(model: Any) -> None:
    """Raise TypeError unless `model` is one of ours."""
    if not isinstance(model, VisionPermutator):
        raise TypeError(f"model: got {shown(model)}, expected a VisionPermutator such as vipnp.create_model returns")


class TrainingStep:
    """Loss, gradients, clipping and the optimiser's step; the model and the optimiser are left as after it.

    Parameters
    ----------
    model : its weights are replaced.
    optimizer : on the backend of the model.
    label_smoothing : see `VisionPermutator.loss_and_grads`.
    max_norm : clip the gradients to this norm, None does not.
    graph : the host starts the whole step by one call, as a CUDA graph. The first call runs as it comes, the second
        records a step on a batch of that size, which all others of that size start; a batch of another size, such as
        the last of an epoch, runs as it comes. From then on the arrays of `model.parameters()` and of the optimiser's
        state are those of the graph, and every step writes them: copy what is to be kept.

    Raises
    ------
    ValueError
        For an option out of its range; with `graph` also for a backend other than "cupy" with its kernels, and for a
        model with dropout.
    TypeError
        For a model or option of another type, or an optimiser without `update`; with `graph` for an optimiser other
        than AdamW.
    """

    def __init__(
        self,
        model: VisionPermutator,
        optimizer: Optimizer,
        *,
        label_smoothing: float = 0.0,
        max_norm: float | None = None,
        graph: bool = False,
    ) -> None:
        check_model(model)
        if isinstance(optimizer, type) or not callable(getattr(optimizer, "update", None)):
            kind = optimizer if isinstance(optimizer, type) else type(optimizer)
            what = "the class" if kind is optimizer else "one of type"
            raise TypeError(
                f"optimizer: got {what} {kind.__module__}.{kind.__qualname__}, expected one of vipnp.optim, such as "
                "AdamW(model.backend)"
            )
        self.model, self.optimizer = model, optimizer
        self.label_smoothing = check_real("label_smoothing", label_smoothing, low=0, high=1)
        self.max_norm = None if max_norm is None else check_real("max_norm", max_norm, low=0, low_included=False)
        self._graph: _GraphStep | None = None
        if check_flag("graph", graph):
            self._graph = _GraphStep(model, optimizer, self.label_smoothing, self.max_norm)

    def __call__(self, images: Any, targets: Any, *, lr: float, rng: Generator | None = None) -> Array:
        """The loss of a batch before the update, a 0-d array of the backend; nothing waits for the device.

        images, targets, rng : as for `VisionPermutator.loss_and_grads`, which says what is raised. lr : the learning
        rate, as for the optimiser.
        """
        lr = check_real("lr", lr, low=0)
        if self._graph is not None:
            images, targets = self._graph.received(images, targets)
            check_rng(rng)
            if self._graph.takes(images, targets, rng):
                return self._graph(images, targets, lr, rng)
        model = self.model
        grads: Mapping[str, Array]
        loss, grads = model.loss_and_grads(images, targets, label_smoothing=self.label_smoothing, rng=rng)
        if self.max_norm is not None:
            grads, _ = model.backend.find(clip_grad_norm)(model.backend, grads, max_norm=self.max_norm)
        model.set_parameters(self.optimizer.update(model.parameters(), grads, lr=lr))
        return loss


class _GraphStep:
    """A step that the backend records and starts, see `TrainingStep`."""

    def __init__(
        self, model: VisionPermutator, optimizer: Optimizer, label_smoothing: float, max_norm: float | None
    ) -> None:
        backend: Any = model.backend
        if not hasattr(backend, "recorded_step") or not backend.fused:
            raise ValueError(f"graph: got a model on {backend!r}, expected get_backend('cupy') with its kernels")
        if model.config.dropout:
            raise ValueError(f"graph: got a model with dropout={model.config.dropout}, expected none")
        if not isinstance(optimizer, AdamW):
            raise TypeError(f"graph: got the optimizer {type(optimizer).__name__}, expected AdamW")
        self.model, self.optimizer = model, optimizer
        self.label_smoothing, self.max_norm = label_smoothing, max_norm
        self.kind: Any = None
        self.recorded: Any = None
        self.tree: Any = None

    def received(self, images: Any, targets: Any) -> tuple[Array, Array]:
        """Both on the device, checked."""
        model, config = self.model, self.model.config
        x = receive_images(model.backend, images, (config.in_channels, *config.image_size), model.dtype)
        labels, distributions = receive_labels_or_targets(
            model.backend, targets, x.shape[0], config.num_classes, model.dtype
        )
        return x, distributions if labels is None else labels

    def takes(self, x: Array, targets: Array, rng: Generator | None) -> bool:
        """Whether this step is like the first, which must have been, for it compiled the kernels, and AdamW's first."""
        kind = x.shape, x.dtype, targets.shape, targets.dtype, rng is None
        first = self.kind is None
        if first:
            self.kind = kind
        return not first and kind == self.kind and self.optimizer.state.step > 0

    def __call__(self, x: Array, targets: Array, lr: float, rng: Generator | None) -> Array:
        model, optimizer = self.model, self.optimizer
        draws: HostArray = np.empty(0, model.dtype)
        if rng is not None and model.config.drop_path:
            draws = draw_paths(rng, model.config, x.shape[0], model.dtype)
        if self.recorded is None:
            self.recorded = self.record((x, targets), draws.shape)
        recorded, state = self.recorded, optimizer.state
        if model.params is not self.tree or state.exp_avg is not recorded.exp_avg:
            recorded.load(model.parameters(), state.exp_avg, state.exp_avg_sq)
            model.set_parameters(recorded.params)
            self.tree = model.params
        loss = recorded((x, targets), draws, t=state.step + 1, lr=lr)
        optimizer.state = AdamWState(state.step + 1, recorded.exp_avg, recorded.exp_avg_sq)
        return loss

    def record(self, batch: Sequence[Array], draws: tuple[int, ...]) -> Any:
        """A recorded step; the model is left as it was."""
        model, optimizer = self.model, self.optimizer
        before = model.params
        xp: Any = model.backend
        recorded = xp.recorded_step(
            model.parameters(),
            batch,
            draws,
            betas=optimizer.betas,
            eps=optimizer.eps,
            weight_decay=optimizer.weight_decay,
            max_norm=self.max_norm,
        )

        def gradients(arrays: Sequence[Array], drawn: Array) -> tuple[Array, Mapping[str, Array]]:
            x, targets = arrays
            labels, distributions = (targets, None) if targets.ndim == 1 else (None, targets)
            masks = path_masks(drawn, model.config) if drawn.size else None
            return loss_and_grads(
                xp,
                x,
                model.params,
                labels,
                distributions,
                config=model.config,
                label_smoothing=self.label_smoothing,
                masks=masks,
            )

        model.set_parameters(recorded.params)
        try:
            recorded.record(gradients)
        finally:
            model.params = before
        return recorded
