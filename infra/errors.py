"""Every error a user can meet: one line that says what was given, what is allowed and what to do.

All are picklable (Ray carries them between processes): the message is the only argument.
"""


class CorrigendaError(Exception):
    """Root of all errors raised on purpose. The command line prints its message and exits 1."""


class ConfigError(CorrigendaError, ValueError):
    """A setting is unknown, malformed or contradicts another."""


class SourceError(CorrigendaError):
    """A knowledge source cannot be reached or answers with something that is not its format."""


class AddressError(SourceError):
    """Text from the network would lead us to where only we can reach."""


class RobotsError(SourceError):
    """A site's robots.txt keeps crawlers out of an address."""


class AnswerError(SourceError):
    """A source was reached, and what it answered cannot be used; other answers of it may be."""


class DamageError(SourceError):
    """A file can be read only up to some place; what was read before that is good."""


class ModelError(CorrigendaError, ValueError):
    """A model cannot be found, loaded, or is of a kind that is not supported."""


class EditError(CorrigendaError, ValueError):
    """An edit request or a whole edit cannot be carried out."""


class StageError(CorrigendaError):
    """A stage's output exists but was made from other inputs, or cannot be read or written."""


class ProtocolError(CorrigendaError, ValueError):
    """Two numbers were taken in different ways and cannot be compared."""


class GateError(CorrigendaError):
    """The evaluation of a candidate release is outside the gate's bounds."""
