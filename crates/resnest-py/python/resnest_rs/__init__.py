"""timm's ResNet-family image classifiers, fast on the CPU and without torch: the same weights, pixels and logits.

>>> import resnest_rs
>>> classifier = resnest_rs.Classifier("demo")
>>> print(classifier.classify("chelsea.png", topk=2))
cat 73.8%, frog 10.3%

`Classifier` goes from encoded images to classes, logits, features and maps. `create_model`, `create_transform`,
`list_models` and `resolve_model_data_config` are timm's, for normalised arrays. `resnest_rs.batch` is for Ray Data, Spark
and Daft. Errors are `ResnestError`s and pickle.
"""

from __future__ import annotations

from . import _resnest
from ._classifier import Classifier
from ._errors import (
    CheckpointError,
    HubError,
    ImageError,
    ModelError,
    NotFoundError,
    ResnestError,
)
from ._results import ActivationMap, Class, Prediction, Predictions
from ._timm import (
    Model,
    Transform,
    create_model,
    create_transform,
    list_models,
    list_pretrained,
    resolve_model_data_config,
)

__version__: str = _resnest.__version__

__all__ = [
    "ActivationMap",
    "CheckpointError",
    "Class",
    "Classifier",
    "HubError",
    "ImageError",
    "Model",
    "ModelError",
    "NotFoundError",
    "Prediction",
    "Predictions",
    "ResnestError",
    "Transform",
    "create_model",
    "create_transform",
    "list_models",
    "list_pretrained",
    "resolve_model_data_config",
]

for _class in (Classifier, Prediction, Predictions, ActivationMap, Model, Transform):
    # Where users know them from, and where pickles look for them.
    _class.__module__ = "resnest_rs"
