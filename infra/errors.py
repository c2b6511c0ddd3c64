"""The errors a user can meet: a line that says what was given, what is allowed, and what to do.

All are picklable, since Ray carries them between processes: the message is the only argument.
"""

LONGEST = 1600
"""Characters of a message at most. What is left out of a longer one is in its middle, where the
text that was given stands."""


class CorrigendaError(Exception):
    """Root of all errors raised on purpose. The command line prints its message and exits 1."""

    def __init__(self, message: str) -> None:
        """message  one line; one of more than `LONGEST` characters is cut in its middle"""
        half = LONGEST // 2
        if len(message) > LONGEST:
            message = f"{message[:half]} [...] {message[-half:]}"
        super().__init__(message)


class ConfigError(CorrigendaError, ValueError):
    """A setting is unknown, malformed or contradicts another."""


class SourceError(CorrigendaError):
    """A knowledge source cannot be reached, or its data is not in the format it should be in."""


class AddressError(SourceError):
    """Text from the network (a redirect, a link) names an address that is not public."""


class RobotsError(SourceError):
    """A site's robots.txt forbids crawlers an address."""


class HostError(SourceError):
    """A host fails at a request that is right, however often it is sent; later it may not."""


class RefusedError(SourceError):
    """A host refuses a request for what it asks; the same request would be refused again."""


class AnswerError(SourceError):
    """A source answered one request with something unusable; its other answers may be good."""


class DamageError(SourceError):
    """A file is damaged from some place on; what was read before that place is good."""


class ModelError(CorrigendaError, ValueError):
    """A model cannot be found or loaded, or is of a kind that is not supported."""


class EditError(CorrigendaError, ValueError):
    """An edit request or a whole edit cannot be carried out."""


class StageError(CorrigendaError):
    """A stage's output was made from other inputs, or cannot be made, read or written."""


class ProtocolError(CorrigendaError, ValueError):
    """Two numbers were measured in different ways and cannot be compared."""


class GateError(CorrigendaError):
    """The evaluation of a candidate release is outside the gate's bounds."""


def reason(error: Exception) -> str:
    """Why a file cannot be read or written, on one line: what the system says; else the error's own
    text, since some libraries give that only."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    said = getattr(error, "strerror", None)
    return said or (str(error).splitlines() or [type(error).__name__])[0]
