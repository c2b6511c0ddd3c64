"""The meaning of the IRIs in Wikibase's RDF, on whatever host the Wikibase is."""

from __future__ import annotations

import re
from functools import lru_cache

_WIKIBASE = "http://wikiba.se/ontology#"
NAMES = {
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#type": "type",
    "http://www.w3.org/2000/01/rdf-schema#label": "label",
    "http://www.w3.org/2004/02/skos/core#altLabel": "alias",
    "http://www.w3.org/2002/07/owl#sameAs": "same",
    "http://www.w3.org/ns/prov#wasDerivedFrom": "derived",
    "http://schema.org/version": "version",
    "http://schema.org/dateModified": "modified",
    **{f"{_WIKIBASE}{name}": name for name in ("rank", "sitelinks", "propertyType")},
    **{f"{_WIKIBASE}{name}": name for name in ("timeValue", "timePrecision", "timeCalendarModel")},
    **{f"{_WIKIBASE}{name}": name for name in ("quantityAmount", "quantityUnit")},
    **{f"{_WIKIBASE}{name}": name for name in ("quantityLowerBound", "quantityUpperBound")},
    **{f"{_WIKIBASE}{name}": name for name in ("geoLatitude", "geoLongitude", "geoPrecision")},
    f"{_WIKIBASE}geoGlobe": "geoGlobe",
}
NODE_PARTS = frozenset(name for name in NAMES.values() if name[:3] in ("tim", "qua", "geo"))
_PROPERTY = re.compile(
    r"https?://[^/]+/prop/(direct|statement|statement/value|qualifier|qualifier/value|reference"
    r"|novalue)/(P[1-9]\d*)|https?://[^/]+/prop/(P[1-9]\d*)"
)
_SUBJECT = re.compile(
    r"https?://[^/]+/(?:(entity)/([QPL][1-9]\d*)|(entity/statement|value|reference)/(.+)"
    r"|wiki/(Special:EntityData)/([QPL][1-9]\d*))"
)
GENID = re.compile(r"https?://[^/]+/\.well-known/genid/.+")
"""An unknown value, in RDF whose blank nodes have been replaced by IRIs (skolemised)."""


@lru_cache(maxsize=1 << 16)
def predicate_of(iri: str) -> tuple[str, str]:
    """The namespace of a predicate and its property id; for a predicate in `NAMES`, its name and an
    empty id. Both are empty for other IRIs."""
    if iri in NAMES:
        return NAMES[iri], ""
    match = _PROPERTY.fullmatch(iri)
    if not match:
        return "", ""
    return (match[1], match[2]) if match[1] else ("p", match[3])


def subject_of(iri: str) -> tuple[str, str]:
    """The kind of a subject (`entity`, `data`, `statement`, `value`, `reference`) and its id; both
    are empty for other IRIs."""
    match = _SUBJECT.fullmatch(iri)
    if not match:
        return "", ""
    if match[1]:
        return "entity", match[2]
    if match[5]:
        return "data", match[6]
    return match[3].rpartition("/")[2], match[4]
