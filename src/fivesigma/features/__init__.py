"""What a model sees: fitted transforms from columns, by name, to arrays."""

from fivesigma.features.contract import FEATURES, Features, check_names, features_from_json
from fivesigma.features.images import JetImages
from fivesigma.features.jet_image import image_mass, jet_image
from fivesigma.features.several import SeveralInputs
from fivesigma.features.tabular import Tabular

__all__ = [
    "FEATURES",
    "Features",
    "JetImages",
    "SeveralInputs",
    "Tabular",
    "check_names",
    "features_from_json",
    "image_mass",
    "jet_image",
]
