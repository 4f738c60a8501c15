"""The own features of an installation, for commands that need no other setting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from flink_jobs.errors import ErrorCode, UserError
from flink_jobs.own_feature_settings import OwnFeatureSettings
from flink_jobs.settings import ENV_PREFIX, STACK_ENV_FILE, stack_home

if TYPE_CHECKING:
    from flink_jobs.core.own_features.values import OwnValues

OwnFeaturesOption = Annotated[
    bool,
    typer.Option("--own-features", help="add the own features of STREAMFLOW_FEATURES; gradient_boosting only"),
]


class _Alone(OwnFeatureSettings):
    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="ignore", frozen=True)


def own_feature_settings() -> OwnFeatureSettings:
    """Return the settings of own features, from the environment or the local stack's ``stack.env``.

    Raises:
        UserError: the list of modules is not valid.
    """
    try:
        return _Alone(_env_file=stack_home() / STACK_ENV_FILE)  # type: ignore[call-arg]
    except ValidationError as error:
        problem = error.errors()[0]["msg"]
        fix = "name Python modules, separated by commas, such as my_bank.features"
        raise UserError(f"STREAMFLOW_FEATURES: {problem}", fix, ErrorCode.SETTINGS_INVALID) from None


def own_values_if_set() -> OwnValues | None:
    """Return the own features of the installation; ``None`` without any.

    Raises:
        UserError: a module cannot be used.
    """
    return own_feature_settings().own_values()


def own_values() -> OwnValues:
    """Return the own features that the user asked for.

    Raises:
        UserError: there are none, or a module cannot be used.
    """
    own = own_values_if_set()
    if own is None:
        fix = "set STREAMFLOW_FEATURES=my_bank.features and STREAMFLOW_FEATURES_DIR to the folder of my_bank"
        raise UserError("there are no own features", fix, ErrorCode.USAGE_ERROR)
    return own
