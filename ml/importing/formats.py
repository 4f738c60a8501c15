"""The file formats that can be imported. This module does not import scikit-learn, which takes seconds to import."""

from __future__ import annotations

from enum import StrEnum


class ForeignFormat(StrEnum):
    """File formats of other libraries that can be imported."""

    LIGHTGBM = "lightgbm"
    XGBOOST = "xgboost"
    ONNX_TREES = "onnx-trees"
    SKLEARN_JSON = "sklearn-json"
