"""Bands of patient counts: what a site says in public of its size.

A band doubles: 11-15, 16-31, 32-63, 64-127 and on; below 11 it is "1-10" (CMS suppresses cells of 1 to 10). The
server weighs a site by its band, and the site divides its gradients by it, so that neither learns nor uses the number.
"""

from __future__ import annotations

from common.errors import AdmissionError

SMALL = "1-10"
MOST_PATIENTS = 2**30
"""No hospital has more: a larger claim would only buy weight, or overflow it."""


def band_of(num_patients: int) -> str:
    """The band that holds a number of patients."""
    if num_patients < 11:
        return SMALL
    low = 1 << (num_patients.bit_length() - 1)
    return f"{max(low, 11)}-{2 * low - 1}"


def middle_of(band: str) -> float:
    """A band's middle: the public stand-in for the number.

    Raises:
        AdmissionError: The text is not one of the bands.
    """
    low, high = _ends(band)
    return (low + high + 1) / 2


def most_of(band: str) -> int:
    """A band's upper end: no site of the band has more patients.

    Raises:
        AdmissionError: The text is not one of the bands.
    """
    return _ends(band)[1]


def delta_for(band: str) -> float:
    """The default delta of a site: one over ten times its band's upper end.

    Delta bounds the probability that epsilon does not hold. A mechanism that publishes one patient at random has delta
    1 / patients, so delta has to stay well below, whatever the number in the band.

    Raises:
        AdmissionError: The text is not one of the bands.
    """
    return 1 / (10 * most_of(band))


def _ends(band: str) -> tuple[int, int]:
    try:
        low, high = map(int, band.split("-"))
    except ValueError as error:
        raise AdmissionError("band") from error
    if high > MOST_PATIENTS or band != band_of(high):
        raise AdmissionError("band")
    return low, high
