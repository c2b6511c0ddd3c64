"""The order in which many states are tried where there is time for a few: first those that show
something that no other showed, then evenly."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from typing import Generic, Protocol, TypeVar


class Featured(Protocol):
    """Something with features, such as the stage and the kind of file that it is about."""

    @property
    def features(self) -> tuple[Hashable, ...]:
        """Its features."""
        ...


T = TypeVar("T", bound=Featured)


class Covering(Generic[T]):
    """Gives out items so that every feature is seen as early as it can be, and rare features as
    often as common ones."""

    def __init__(
        self, items: Iterable[T], seed: int, seen: Counter[Hashable] | None = None
    ) -> None:
        """
        seed  of the order among items with the same features
        seen  feature -> how often it was seen, which is counted on; of another order, if that one's
              features need not be seen again
        """
        chance = random.Random(seed)
        self.seen: Counter[Hashable] = Counter() if seen is None else seen
        self._left: defaultdict[tuple[Hashable, ...], list[T]] = defaultdict(list)
        for item in items:
            self._left[item.features].append(item)
        for alike in self._left.values():
            chance.shuffle(alike)
        self.features = {feature for features in self._left for feature in features}
        """All features of the items."""

    def take(self) -> T | None:
        """The next item; None where there is no other."""
        if not self._left:
            return None
        best = max(self._left, key=lambda features: sum(0.5 ** self.seen[f] for f in features))
        alike = self._left[best]
        item = alike.pop()
        if not alike:
            del self._left[best]
        return item

    def tried(self, item: T) -> None:
        """Count the features of an item as seen."""
        self.seen.update(item.features)

    def missing(self) -> set[Hashable]:
        """Features that were not seen yet."""
        return {feature for feature in self.features if not self.seen[feature]}
