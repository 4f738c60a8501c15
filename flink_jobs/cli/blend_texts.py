"""Describes the own blend of a model in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flink_jobs.core.control.config import DEFAULT_ALERT_THRESHOLD, DEFAULT_ALPHA

if TYPE_CHECKING:
    from flink_jobs.core.models.manifest_document import BlendDocument

NO_OWN_BLEND = (
    f"It has no own alpha and threshold: those of the configuration apply ({DEFAULT_ALPHA:g} and "
    f"{DEFAULT_ALERT_THRESHOLD:g} unless a control message set others)."
)


def own_blend_text(blend: BlendDocument | None) -> str:
    """Return one or two sentences about the own blend of a model and how it was chosen."""
    if blend is None:
        return NO_OWN_BLEND
    text = f"Its own alpha is {blend['alpha']:g} and its own alert threshold {blend['threshold']:.3f}."
    if not blend["rows"]:
        return f"{text} They were given by hand."
    return (
        f"{text} On {blend['rows']:,.0f} validation rows with {blend['frauds']:,.0f} frauds, average precision is "
        f"{blend['average_precision']:.3f}, and {blend['default_average_precision']:.3f} with alpha {DEFAULT_ALPHA:g}."
    )
