"""The public model: a Vision Permutator with its weights on a backend."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from typing import Any

from vipnp.backends import get_backend
from vipnp.checkpoint import save_weights
from vipnp.core import Array, Backend, Generator, HostArray
from vipnp.core.boundary import check_rng, host_parameter, receive_images, receive_labels_or_targets, receive_parameter
from vipnp.core.checks import check_dtype, check_whole
from vipnp.core.tree import flatten, unflatten
from vipnp.data.transforms import Transform
from vipnp.models.checks import IncompatibleKeys, check_arrays, check_names, checked_smoothing, description
from vipnp.models.config import ViPConfig
from vipnp.models.draws import draw_masks
from vipnp.models.initialization import initial_head, initial_parameters, parameter_shapes
from vipnp.models.loss import loss_and_grads
from vipnp.models.resolution import carried, resized
from vipnp.models.summary import Summary, summarize
from vipnp.models.vision_permutator import VisionPermutatorParams, tokens, vision_permutator

DTYPES = ("float32", "float64")
"""What the weights of a model can be held in."""


class VisionPermutator:
    """A Vision Permutator: configuration, weights and the backend they live on.

    Images are (B, in_channels, height, width): a host NumPy array, whose values are checked and which is uploaded once,
    or an array of the backend, whose shape and dtype are checked.

    Parameters
    ----------
    config : what it is made of.
    backend : a name or a `Backend`.
    dtype : "float32" or "float64", the dtype of weights and images.
    seed : of the initial weights.

    Attributes
    ----------
    params : the weights, nested dicts of backend arrays; the joined path of each is its official name.
    classes : names of the outputs, or None.
    transform : from a picture to what the model sees, or None.
    """

    def __init__(
        self, config: ViPConfig, *, backend: str | Backend = "numpy", dtype: str = "float32", seed: int = 0
    ) -> None:
        self._of(config, backend, dtype)
        self.params: VisionPermutatorParams = self._uploaded(
            initial_parameters(config, check_whole("seed", seed, low=0))
        )

    @classmethod
    def from_weights(
        cls, config: ViPConfig, tensors: Mapping[str, Any], *, backend: str | Backend = "numpy", dtype: str = "float32"
    ) -> VisionPermutator:
        """The model of `config` with given weights, as `load_state_dict` of a new model makes it, without drawing any
        first.

        Parameters
        ----------
        config, backend, dtype : as for the class.
        tensors : {official name: array}.

        Returns
        -------
        VisionPermutator
            With copies of the tensors.

        Raises
        ------
        ValueError, TypeError
            As the constructor and `load_state_dict`.
        """
        model = cls.__new__(cls)
        model._of(config, backend, dtype)
        names = parameter_shapes(config)
        arrays = {name: host_parameter(model.backend, name, tensors[name]) for name in names if name in tensors}
        check_names(config, {**tensors, **arrays}, strict=True)
        model.params = model._uploaded({name: arrays[name] for name in names})
        return model

    def _of(self, config: ViPConfig, backend: str | Backend, dtype: str) -> None:
        """Everything but the weights."""
        if not isinstance(config, ViPConfig):
            raise TypeError(f"config: got {type(config).__name__}, expected a ViPConfig")
        self.config = config
        self.backend = get_backend(backend)
        self.dtype = check_dtype(dtype, DTYPES)
        self.classes: tuple[str, ...] | None = None
        self.transform: Transform | None = None

    def __repr__(self) -> str:
        return (
            f"<VisionPermutator layers={self.config.layers} embed_dims={self.config.embed_dims} "
            f"parameters={self.num_parameters:,} dtype={self.dtype} backend={self.backend.name!r}>"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "params": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.params = unflatten({name: self.backend.asarray(array) for name, array in state["params"].items()})  # type: ignore[assignment]

    # --- forward and backward -------------------------------------------------------------------------------------

    def __call__(self, images: Any) -> Array:
        """The logits (B, K) of `images`, keeping nothing for a backward pass.

        Raises ValueError or TypeError if the images do not fit.
        """
        x = self._receive(images)
        logits, _ = self.backend.inference().run(vision_permutator, x, self.params, config=self.config)
        return logits

    def features(self, images: Any) -> list[Array]:
        """The grids of tokens, before any transition and before the final LayerNorm.

        Parameters
        ----------
        images : see the class.

        Returns
        -------
        list of Array
            (B, h, w, C) after each stage.

        Raises
        ------
        ValueError, TypeError
            If the images do not fit.
        """
        x = self._receive(images)
        grids: list[Array] = []
        self.backend.inference().run(tokens, x, self.params, config=self.config, each=grids.append)
        return grids

    def vjp(
        self, images: Any, *, rng: Generator | None = None
    ) -> tuple[Array, Callable[[Array], tuple[Array, dict[str, Array]]]]:
        """The logits, and the way back from any loss of them to the weights and to the image.

        Parameters
        ----------
        images : see the class.
        rng : draws drop path and dropout; None means neither.

        Returns
        -------
        logits : (B, K), an array of the backend.
        pullback : `pullback(dlogits) -> (dimages, grads)`: from the gradient of a loss by the logits (B, K) to its
            gradient by the images, in their shape, and by every parameter, {official name: gradient} in the order of
            the state dict. It works once.

        Raises
        ------
        ValueError, TypeError
            If the images do not fit or the model is on a backend made for inference; from the pullback, if `dlogits` is
            not like the logits.
        """
        self._check_keeps()
        x = self._receive(images)
        check_rng(rng)
        masks = draw_masks(self.backend, rng, self.config, x.shape[0], self.dtype)
        logits, network_back = self.backend.run(vision_permutator, x, self.params, config=self.config, masks=masks)

        def pullback(dlogits: Array) -> tuple[Array, dict[str, Array]]:
            dimages, grads = network_back(dlogits)
            return dimages, dict(flatten(grads))

        return logits, pullback

    def loss_and_grads(
        self, images: Any, targets: Any, *, label_smoothing: float = 0.0, rng: Generator | None = None
    ) -> tuple[Array, dict[str, Array]]:
        """The cross-entropy, mean over the batch, and its gradient by every parameter.

        Parameters
        ----------
        images : see the class.
        targets : integer labels (B,) or distributions (B, K) such as mixup makes.
        label_smoothing : for labels, in [0, 1): the share of every target spread evenly over the K classes.
        rng : draws drop path and dropout; None means neither.

        Returns
        -------
        loss : a 0-d array of the backend.
        grads : {official name: gradient} in the order of the state dict.

        Raises
        ------
        ValueError, TypeError
            Naming the argument, before any work; ValueError if the model is on a backend made for inference.
        """
        self._check_keeps()
        x = self._receive(images)
        labels, distributions = receive_labels_or_targets(
            self.backend, targets, x.shape[0], self.config.num_classes, self.dtype
        )
        smoothing = checked_smoothing(label_smoothing, distributions)
        check_rng(rng)
        return loss_and_grads(
            self.backend,
            x,
            self.params,
            labels,
            distributions,
            config=self.config,
            label_smoothing=smoothing,
            masks=draw_masks(self.backend, rng, self.config, x.shape[0], self.dtype),
        )

    # --- files ------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a safetensors file: weights, configuration, classes and transform. `vipnp.load` reads it.

        Parameters
        ----------
        path : of the file.

        Raises
        ------
        TypeError, ValueError
            If `path` is none or one of another format, classes or transform do not fit, or a weight is not finite.
        OSError
            Where the file cannot be written.
        ImportError
            Naming the extra to install where safetensors is missing.
        """
        save_weights(path, self.state_dict(), description(self.config, self.classes, self.transform))

    # --- weights ----------------------------------------------------------------------------------------------------

    def parameters(self) -> dict[str, Array]:
        """{official name: backend array} in the order of the state dict; the arrays of the model, not copies."""
        return dict(flatten(self.params))

    def set_parameters(self, tensors: Mapping[str, Array]) -> None:
        """Put backend arrays in the place of the weights, without copying.

        Parameters
        ----------
        tensors : {official name: array of the backend}, in the dtype of the model.

        Raises
        ------
        ValueError, TypeError
            If names, shapes, dtypes or the backend are not the model's; the model is then as it was.
        """
        check_arrays(self.backend, tensors, self.dtype)
        check_names(self.config, tensors, strict=True)
        self.params = unflatten({name: tensors[name] for name in parameter_shapes(self.config)})  # type: ignore[assignment]

    def state_dict(self) -> dict[str, HostArray]:
        """{official name: host NumPy copy} of every parameter, in the official order."""
        return {name: self.backend.to_numpy(tensor).copy() for name, tensor in self.parameters().items()}

    def load_state_dict(self, mapping: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Take the weights from a mapping. Values are copied and cast to the dtype of the model.

        Parameters
        ----------
        mapping : {official name: array}, arrays of NumPy or the backend, or anything with `__array__` or DLPack.
        strict : with False, names may be missing or unknown.

        Returns
        -------
        IncompatibleKeys
            The names that were missing or unknown.

        Raises
        ------
        ValueError, TypeError
            Telling of missing, unexpected and wrongly shaped tensors at once, or naming one that is no array of
            floating-point numbers or not finite in the dtype of the model; the model is then as it was.
        """
        if not isinstance(mapping, Mapping):
            raise TypeError(f"mapping: got {type(mapping).__name__}, expected a mapping from names to arrays")
        known = parameter_shapes(self.config)
        arrays = {
            name: host_parameter(self.backend, name, value) if name in known else value
            for name, value in mapping.items()
        }
        keys = check_names(self.config, arrays, strict=strict)
        loaded = {
            name: receive_parameter(self.backend, name, arrays[name], self.dtype) if name in arrays else tensor
            for name, tensor in self.parameters().items()
        }
        self.params = unflatten(loaded)  # type: ignore[assignment]
        return keys

    def reset_classifier(self, num_classes: int, *, seed: int = 0) -> None:
        """Put a freshly drawn head in the place of the old one; its classes have no names.

        Parameters
        ----------
        num_classes : outputs of the new head.
        seed : of its weights.

        Raises
        ------
        ValueError, TypeError
            If `num_classes` is not a positive integer.
        """
        config = dataclasses.replace(self.config, num_classes=num_classes)
        head = self._uploaded(initial_head(config, check_whole("seed", seed, low=0)))["head"]
        self.config = config
        self.params = {**self.params, "head": head}
        self.classes = None

    def at_resolution(self, height: int, width: int) -> VisionPermutator:
        """This model for images of another size, as a new model with weights of its own.

        The matrices of the height and width branches mix a fixed number of places. They are carried over by
        `vipnp.ops.resample_mixing`: the places of the new grid are interpolated linearly at those of the old one, mixed
        there, and the result is interpolated back. All other weights are as they are. At its own size the model stays
        the same to the last bit.

        Parameters
        ----------
        height, width : of the images, pixels.

        Returns
        -------
        VisionPermutator
            On the same backend, with the classes and, for the new size, the transform of this one.

        Raises
        ------
        ValueError, TypeError
            For a size that the patches or a merge do not divide, naming the nearest that fits; for one so large that
            the model would have more than 2^31 weights.
        """
        config = resized(self.config, height, width)
        xp = self.backend
        parameters = carried(xp, self.parameters(), self.dtype, self.config, config)
        tensors = {name: xp.to_numpy(value) for name, value in parameters.items()}
        model = VisionPermutator.from_weights(config, tensors, backend=xp, dtype=self.dtype)
        model.classes = self.classes
        model.transform = self.transform and dataclasses.replace(self.transform, size=config.image_size)
        return model

    @property
    def num_parameters(self) -> int:
        """The number of weights."""
        return sum(math.prod(shape) for shape in parameter_shapes(self.config).values())

    def summary(self) -> Summary:
        """What the model is made of and which function runs where, as one image passes through it.

        `print(model.summary())` prints the table. What runs can depend on the batch: a backend may leave single calls
        to the readable ops.
        """
        image = self.backend.zeros(
            (1, self.config.in_channels, *self.config.image_size), dtype=getattr(self.backend, self.dtype)
        )
        return summarize(self.backend, self.backend.asarray(image), self.params, self.config)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image in linear layers and convolutions."""
        return self.config.macs

    # --- helpers ----------------------------------------------------------------------------------------------------

    def _check_keeps(self) -> None:
        if not self.backend.keep:
            raise ValueError(
                f"backend: {self.backend!r} keeps nothing for a backward pass, expected one with keep=True"
            )

    def _receive(self, images: Any) -> Array:
        config = self.config
        return receive_images(self.backend, images, (config.in_channels, *config.image_size), self.dtype)

    def _uploaded(self, values: Mapping[str, HostArray]) -> Any:
        return unflatten(
            {name: receive_parameter(self.backend, name, value, self.dtype) for name, value in values.items()}
        )
