"""Jet images in an ONNX graph: jagged constituents padded, then the steps of `fivesigma.features.jet_image`.

Every step is dense arithmetic in float64 over (event, constituent); empty places have no intensity.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fivesigma.core.errors import FeatureError
from fivesigma.deploy.onnx_graph import Graph, Value
from fivesigma.features import JetImages
from fivesigma.features.jet_image import pixel_centres

TWO_PI = 2 * np.pi


@dataclass(frozen=True)
class Padded:
    """pt, eta, phi (event, place), zeros where nothing is ``there``."""

    pt: Value
    eta: Value
    phi: Value
    there: Value  # (event, place)
    place: Value  # (place,)
    counts: Value  # (event, 1)
    refused: Value  # (event, 1): something is not finite, or the counts are not those of the values


def padded(graph: Graph, values: Sequence[Value], counts: Value) -> Padded:
    """Values of all events one after another, (value,) each, and how many each event has, (event,)."""
    offsets = graph.op("CumSum", counts, np.array(0), exclusive=1)
    most = graph.concat([counts, np.array([1])], axis=0).largest(0, keep=False)  # one, where there are no events
    place = graph.op("Range", np.array(0), most, np.array(1))  # (place,)
    counts = counts.unsqueeze(1)
    there = place.unsqueeze(0) < counts
    total = values[0].function("Shape")
    index = graph.where(there, offsets.unsqueeze(1) + place.unsqueeze(0), total)  # the zero at the end
    columns = [graph.op("Gather", graph.concat([v, np.zeros(1)], axis=0), index) for v in values]
    refused = columns[0].not_finite()
    for column in columns[1:]:
        refused = refused | column.not_finite()
    wrong = ~counts.sum(0, 1, keep=False).reshape(1).equals(total)
    for other in values[1:]:
        wrong = wrong | ~other.function("Shape").equals(total)
    pt, eta, phi = columns
    return Padded(pt, eta, phi, there, place, counts, refused.largest(1) | wrong)


def jet_images(graph: Graph, features: JetImages, columns: Mapping[str, Value]) -> tuple[Value, Value]:
    """Images, float32 of shape (event, size, size), and whether the features refuse the event, (event,).

    ``columns`` are the jagged columns by name, (value,) each, and the counts of either group by ``count_of`` its first.
    """
    if features.regrid != "cubic":
        raise FeatureError(
            f"jet images with regrid {features.regrid!r} have no form in ONNX; fit the model on images with "
            "regrid: cubic"
        )
    names = features.columns
    constituents = padded(graph, [columns[n] for n in names[:3]], columns[count_of(names[0])])
    subjets = padded(graph, [columns[n] for n in names[3:]], columns[count_of(names[3])])
    pixels = _pixels(graph, features, constituents)
    centre_eta, centre_phi, second_eta, second_phi = _frame(graph, constituents, subjets)
    x = pixels.eta - centre_eta  # (event, constituent)
    y = _wrapped(pixels.phi - centre_phi)
    axis_eta, axis_phi = _principal_axis(graph, pixels.pt, x, y)
    on_top = second_eta.equals(0.0) & second_phi.equals(0.0)
    second_eta, second_phi = graph.where(on_top, axis_eta, second_eta), graph.where(on_top, axis_phi, second_phi)
    length = (second_eta * second_eta + second_phi * second_phi).function("Sqrt")
    cosine, sine = -second_phi / length, -second_eta / length
    rows = _shares(graph, features, sine * x + cosine * y) * pixels.pt.unsqueeze(2)  # (event, constituent, row)
    image = graph.op("MatMul", rows.transpose(0, 2, 1), _shares(graph, features, cosine * x - sine * y))
    image = _normalised(graph, features, _flipped(graph, features, image), pixels.pt)
    refused = constituents.refused | subjets.refused | constituents.counts.equals(np.array(0))
    return image, (refused.reshape(-1) | image.not_finite().cast(np.int32).largest(1, 2, keep=False).cast(np.bool_))


def count_of(column: str) -> str:
    """What the input is called that says how many values of ``column`` each event has."""
    return f"{column}_count"


def _pixels(graph: Graph, features: JetImages, jets: Padded) -> Padded:
    """Intensity in the place of pt; with towers, the centres of cells."""
    intensity, eta, phi = jets.pt, jets.eta, jets.phi
    if features.intensity == "energy":
        intensity = intensity * (0.5 * (eta.function("Exp") + (-eta).function("Exp")))
    if features.tower is not None:
        side_phi = TWO_PI / float(np.rint(TWO_PI / features.tower))
        eta = ((eta / features.tower).function("Floor") + 0.5) * features.tower
        phi = ((phi + np.pi) / side_phi).function("Floor")
        phi = (phi + 0.5) * side_phi - np.pi
    empty = ~jets.there
    return Padded(graph.where(empty, 0.0, intensity), eta, phi, jets.there, jets.place, jets.counts, jets.refused)


def _frame(graph: Graph, constituents: Padded, subjets: Padded) -> tuple[Value, Value, Value, Value]:
    """η and φ of the leading subjet, and those of the second one from there (zeros if there is none), (event, 1) each."""
    hardest, _ = _two_hardest(graph, constituents)
    leading, second = _two_hardest(graph, subjets)
    none, one = subjets.counts < np.array(1), subjets.counts < np.array(2)
    centre_eta = graph.where(none, _at(graph, constituents.eta, hardest), _at(graph, subjets.eta, leading))
    centre_phi = graph.where(none, _at(graph, constituents.phi, hardest), _at(graph, subjets.phi, leading))
    eta = graph.where(one, 0.0, _at(graph, subjets.eta, second) - centre_eta)
    phi = graph.where(one, 0.0, _wrapped(_at(graph, subjets.phi, second) - centre_phi))
    return centre_eta, centre_phi, eta, phi


def _two_hardest(graph: Graph, jets: Padded) -> tuple[Value, Value]:
    """Places of the greatest and second greatest pt, the earlier at equality, (event, 1) each."""
    pt = graph.where(jets.there, jets.pt, -np.inf)
    first = graph.op("ArgMax", pt, axis=1)
    rest = graph.where(jets.place.unsqueeze(0).equals(first), -np.inf, pt)
    return first, graph.op("ArgMax", rest, axis=1)


def _at(graph: Graph, column: Value, place: Value) -> Value:
    return graph.op("GatherElements", column, place, axis=1)


def _wrapped(angle: Value) -> Value:
    """Into [−π, π]."""
    return angle - TWO_PI * (angle * (1 / TWO_PI)).function("Round")


def _principal_axis(graph: Graph, weight: Value, x: Value, y: Value) -> tuple[Value, Value]:
    """As `fivesigma.physics.kinematics.weighted_axis`, without the arc tangent that ONNX lacks, (event, 1) each.

    Of half the angle of (a, b), cosine or sine is taken from a root, whichever is larger, the other from b = 2 r sin cos.
    """
    a = (weight * x * x).sum(1) - (weight * y * y).sum(1)
    b = 2.0 * (weight * x * y).sum(1)
    r = (a * a + b * b).function("Sqrt")
    larger = (0.5 + 0.5 * a.function("Abs") / r).function("Sqrt")
    smaller = 0.5 * b.function("Abs") / (r * larger)
    wide = a >= 0.0
    sign = graph.where(b < 0.0, -1.0, 1.0)
    point = r.equals(0.0)
    cosine = graph.where(point, 1.0, graph.where(wide, larger, smaller))
    sine = graph.where(point, 0.0, sign * graph.where(wide, smaller, larger))
    backwards = cosine * (weight * x).sum(1) + sine * (weight * y).sum(1) < 0.0
    return graph.where(backwards, -cosine, cosine), graph.where(backwards, -sine, sine)


def _shares(graph: Graph, features: JetImages, position: Value) -> Value:
    """Keys' kernel at the distances from all pixels' centres along an axis, (event, constituent, pixel)."""
    centres = pixel_centres(features.size, features.extent)
    per_pixel = features.size / (2 * features.extent)
    d = ((position.unsqueeze(2) - centres) * per_pixel).function("Abs")
    inner = (1.5 * d - 2.5) * d * d + 1.0
    outer = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return graph.where(d < 1.0, inner, graph.where(d < 2.0, outer, 0.0))


def _flipped(graph: Graph, features: JetImages, image: Value) -> Value:
    half = features.size // 2
    left = image.slice(0, half, axis=2).sum(1, 2)
    right = image.slice(features.size - half, features.size, axis=2).sum(1, 2)
    mirrored = graph.op("Gather", image, np.arange(features.size)[::-1].copy(), axis=2)
    return graph.where(left > right, mirrored, image)


def _normalised(graph: Graph, features: JetImages, image: Value, intensity: Value) -> Value:
    """As float32."""
    if features.normalise != "none":
        norm = {
            "l1": lambda: image.function("Abs").sum(1, 2),
            "l2": lambda: (image * image).sum(1, 2).function("Sqrt"),
            "pt-sum": lambda: intensity.sum(1).unsqueeze(2),
        }[features.normalise]()
        image = image * graph.where(norm > 0.0, 1.0 / norm, 1.0)
    single = image.cast(np.float32)
    if features.scale == "none":
        return single
    assert features.unit is not None  # a fitted model's features are fitted
    return single / np.float32(features.unit)
