"""Views of the losses, (n,), for a process that believes in bell curves: mean 0, deviation 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

#: Losses above the median count at most as if this many times as far from it as the best is.
_REACH = 5.0
#: How fast one tires of a plateau, and how many trials may share a loss before.
_TIRING, _FRESH = 1.2, 2


def power(losses: Array) -> Array:
    """Apply the Box-Cox (1964) or, below zero, Yeo-Johnson (2000) transform that fits best."""
    import numpy as np

    scaled = losses / (np.abs(losses).max() or 1.0)  # So that nothing below overflows.
    middle, low = np.median(scaled), scaled.min()
    if middle > low:
        scaled = np.minimum(scaled, middle + _REACH * (middle - low))
    spread = scaled.std()
    if not spread > 0:
        return np.zeros_like(losses)
    if low > 1e-12:
        views, logs = _box_cox(scaled / np.exp(np.log(scaled).mean()))
    else:
        views, logs = _yeo_johnson((scaled - middle) / spread)
    likelihood = logs - 0.5 * len(losses) * np.log(np.maximum(views.var(axis=1), 1e-300))
    return standard(views[int(np.argmax(np.round(likelihood, 6)))])


def ranks(losses: Array) -> Array:
    """Give each loss the quantile of the normal distribution that its rank has; ties share one."""
    import numpy as np
    from scipy.special import ndtri

    _, where, counts = np.unique(losses, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - 0.5 * counts
    return standard(ndtri(middle / len(losses))[where])


def both(losses: Array) -> Array:
    """Give the mean of `power` and `ranks`."""
    return standard(power(losses) + ranks(losses))


def tired(losses: Array) -> Array:
    """Give `both`, but make a good loss the worse the more trials share it.

    What many settings share to the last digit is a plateau, and more of it is no news; but a model
    expects its unseen parts to be as good as those around them, or better with luck, and stays. No
    view for all models: of a coarse loss, such as an error rate, the best step is shared as well.
    """
    import numpy as np

    view = both(losses)
    _, where, counts = np.unique(losses, return_inverse=True, return_counts=True)
    more = _TIRING * np.log(np.maximum(counts / _FRESH, 1.0))
    return np.where(view < 0, view + more[where], view)


def standard(losses: Array) -> Array:
    """Shift and scale to mean 0 and standard deviation 1; equal losses become 0."""
    import numpy as np

    centred = losses - losses.mean()
    spread = centred.std()
    return centred / spread if spread > 1e-12 else np.zeros_like(losses)


def _box_cox(values: Array) -> tuple[Array, Array]:
    """Give the views by exponent and the logarithm of each one's Jacobian; `values` are > 0."""
    import numpy as np

    exponents = np.linspace(-1.0, 1.5, 26)[:, None]
    logs = np.log(values)[None]
    flat = np.abs(exponents) < 1e-9
    safe = np.where(flat, 1.0, exponents)
    views = np.where(flat, logs, np.expm1(np.clip(safe * logs, -700, 700)) / safe)
    return views, (exponents[:, 0] - 1) * logs.sum()


def _yeo_johnson(values: Array) -> tuple[Array, Array]:
    """Give the views by exponent and the logarithm of each one's Jacobian."""
    import numpy as np

    exponents = np.linspace(-1.0, 3.0, 41)[:, None]
    logs = np.log1p(np.abs(values))[None]
    above = np.broadcast_to(values >= 0, (len(exponents), len(values)))
    power = np.where(above, exponents, 2 - exponents)
    flat = np.abs(power) < 1e-9
    safe = np.where(flat, 1.0, power)
    size = np.where(flat, logs, np.expm1(np.clip(safe * logs, -700, 700)) / safe)
    jacobian = ((power - 1) * logs).sum(1)
    return np.where(above, size, -size), jacobian
