"""Distances on the Earth's surface."""

from math import asin, cos, radians, sin, sqrt
from typing import Final

EARTH_RADIUS_KM: Final = 6371.0088


def great_circle_km(latitude1: float, longitude1: float, latitude2: float, longitude2: float) -> float:
    """Return the distance of two points in km by the haversine formula on a sphere of mean Earth radius.

    >>> round(great_circle_km(48.8566, 2.3522, 51.5074, -0.1278))
    344
    """
    phi1, phi2 = radians(latitude1), radians(latitude2)
    h = sin((phi2 - phi1) / 2.0) ** 2 + cos(phi1) * cos(phi2) * sin(radians(longitude2 - longitude1) / 2.0) ** 2
    return 2.0 * EARTH_RADIUS_KM * asin(sqrt(min(1.0, h)))
