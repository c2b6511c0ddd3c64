"""The relations of RippleEdits by their names in its files: Wikidata property and phrase.

A phrase is the beginning of the sentence that states a fact, with `{}` in place of the subject. The
files give a fact as one sentence and its subject by id only, so the phrase is needed to split the
sentence. Source: github.com/edenbiran/RippleEdits (MIT), which gives NATIVE_LANGUAGE the property
P03 by mistake. A relation without a property has its phrase in place of the property.
"""

from __future__ import annotations

_BY_NAME = {
    "MOTHER": ("P25", "The name of the mother of {} is"),
    "FATHER": ("P22", "The name of the father of {} is"),
    "BROTHER": ("P7", "The name of the brother of {} is"),
    "SISTER": ("P9", "The name of the sister of {} is"),
    "SIBLING": ("P3373", "The names of the siblings of {} are"),
    "SPOUSE": ("P26", "The name of the spouse of {} is"),
    "UNCLE": ("", "The name of the uncle of {} is"),
    "AUNT": ("", "The name of the aunt of {} is"),
    "CHILD": ("P40", "The name of the child of {} is"),
    "NUMBER_OF_CHILDREN": ("P1971", "The number of children {} has is"),
    "SEX_OR_GENDER": ("P21", "The gender of {} is"),
    "PLACE_OF_BIRTH": ("P19", "The place of birth of {} is"),
    "PLACE_OF_DEATH": ("P20", "The place of death of {} is"),
    "PLACE_OF_BURIAL": ("P119", "The place of burial of {} is"),
    "COUNTRY": ("P17", "The name of the country which {} is associated with is"),
    "COUNTRY_OF_CITIZENSHIP": ("P27", "The name of the country of citizenship of {} is"),
    "POSITION_HELD": ("P39", "The name of the position held by {} is"),
    "STEPFATHER": ("P43", "The name of the stepfather of {} is"),
    "STEPMOTHER": ("P44", "The name of the stepmother of {} is"),
    "MEMBER_OF_SPORTS_TEAM": ("P54", "The name of the sports team which {} is a member of is"),
    "ALMA_MATER": ("P69", "The name of the alma mater of {} is"),
    "SEXUAL_ORIENTATION": ("P91", "The sexual orientation of {} is"),
    "OCCUPATION": ("P106", "The occupation of {} is"),
    "EMPLOYER": ("P108", "The name of the employer of {} is"),
    "LEAGUE": ("P118", "The name of the league which {} plays in is"),
    "FIELD_OF_WORK": ("P101", "The name of the field of work of {} is"),
    "NATIVE_LANGUAGE": ("P103", "The mother tongue of {} is"),
    "AWARD_RECEIVED": ("P166", "The name of the award {} won is"),
    "FOLLOWS": ("P155", "{} follows"),
    "FOLLOWED_BY": ("P156", "{} is followed by"),
    "ETHNIC_GROUP": ("P172", "The name of the ethnic group which {} is associated with is"),
    "RELIGION": ("P140", "The name of the religion which {} is associated with is"),
    "EYE_COLOR": ("P1340", "The eye color of {} is"),
    "DATE_OF_BIRTH": ("P569", "The date of birth of {} is"),
    "DATE_OF_DEATH": ("P570", "The date of death of {} is"),
    "IS_ALIVE": ("", "Is {} still alive?"),
    "HEAD_OF_GOVERNMENT": ("P6", "The name of the head of government of {} is"),
    "HEAD_OF_STATE": ("P35", "The name of the head of state of {} is"),
    "CONTINENT": ("P30", "The name of the continent which {} is part of is"),
    "CAPITAL": ("P36", "The name of the capital city of {} is"),
    "CURRENCY": ("P38", "The name of the currency in {} is"),
    "OFFICIAL_LANGUAGE": ("P37", "The official language of {} is"),
    "ANTHEM": ("P85", "The name of the anthem of {} is"),
    "LIKELY_ANTHEM": (
        "",
        "The name of the anthem that is most likely to be performed in {} is",
    ),
    "CAPITAL_OF": ("P1376", "The name of the country which {} is the capital of is"),
    "AUTHOR": ("P50", "The name of the author of {} is"),
    "EDITOR": ("P98", "The name of the editor of {} is"),
    "DIRECTOR": ("P57", "The name of the director of {} is"),
    "SCREENWRITER": ("P58", "The name of the screenwriter of {} is"),
    "CAST_MEMBER": ("P161", "The names of the cast members of {} are"),
    "ARCHITECT": ("P84", "The name of the architect of {} is"),
    "COMPOSER": ("P86", "The name of the composer of {} is"),
    "FOUNDER": ("P112", "The name of the founder of {} is"),
}

PHRASES = {name: phrase for name, (_, phrase) in _BY_NAME.items()}
"""Phrases by the relation's name."""
PROPERTIES = {name: number or phrase for name, (number, phrase) in _BY_NAME.items()}
"""Wikidata property ids by the relation's name; the phrase where there is no property."""
