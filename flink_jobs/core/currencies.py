"""ISO 4217 currencies and the exponent that turns their minor units into major ones.

Source: ISO 4217 list one (active codes), exponents other than 2 listed in full, and list three (withdrawn codes) with
the exponents of Java's currency data. A transaction of 2015 in HRK has a meaning, although HRK is withdrawn.
"""

from typing import Final

_TWO_DECIMALS: Final = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW
CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR
ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV
MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD
SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR ZMW ZWG
"""

_NO_DECIMALS: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE_DECIMALS: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR_DECIMALS: Final = "CLF UYW"

_WITHDRAWN_TWO_DECIMALS: Final = """
AFA ANG ATS AYM AZM BGL CSD CUC CYP DEM EEK FIM FRF GHC GWP HRK IEP LTL LVL MRO MTL MZM NLG RUR SDD SIT SKK
SLL SRG STD TMM USS VEB VEF YUM ZMK ZWD ZWL ZWN ZWR
"""
_WITHDRAWN_NO_DECIMALS: Final = "ADP BEF BYB BYR ESP GRD ITL LUF MGF PTE ROL TPE TRL"

MINOR_UNITS: Final[dict[str, float]] = {
    **dict.fromkeys(_WITHDRAWN_TWO_DECIMALS.split(), 100.0),
    **dict.fromkeys(_WITHDRAWN_NO_DECIMALS.split(), 1.0),
    **dict.fromkeys(_TWO_DECIMALS.split(), 100.0),
    **dict.fromkeys(_NO_DECIMALS.split(), 1.0),
    **dict.fromkeys(_THREE_DECIMALS.split(), 1000.0),
    **dict.fromkeys(_FOUR_DECIMALS.split(), 10000.0),
}
"""Minor units in one major unit, by currency code."""


def major_amount(amount_minor: int, currency: str) -> float:
    """Return an amount in major units (dollars for USD).

    Raises:
        KeyError: the currency is not in ``MINOR_UNITS``; the parser rejects such a transaction.

    >>> major_amount(1999, "USD"), major_amount(1999, "JPY"), major_amount(1999, "KWD")
    (19.99, 1999.0, 1.999)
    """
    return amount_minor / MINOR_UNITS[currency]
