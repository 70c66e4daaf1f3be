"""The one error tree. Services map each kind to an HTTP status (`cuvee.service`); a task fails with the message.

Every message says what happened and what to do about it; it is shown to users as it stands.
"""


class CuveeError(Exception):
    """Root of every error that this project raises on purpose."""

    kind = "internal_error"


class ConfigurationError(CuveeError):
    """A setting is missing or wrong; the message names the setting."""

    kind = "configuration_error"


class InvalidInputError(CuveeError):
    """The caller sent something that cannot be accepted as it is."""

    kind = "invalid_input"


class TooLargeError(InvalidInputError):
    """An input is over a documented limit."""

    kind = "too_large"


class UnreadableDocumentError(InvalidInputError):
    """A document's bytes cannot be turned into text; the message is what the document's owner reads."""

    kind = "unreadable_document"


class DataQualityError(InvalidInputError):
    """A table breaks its data contract by more than the allowed share of rows."""

    kind = "data_quality"


class NotFoundError(CuveeError):
    """What was asked for does not exist."""

    kind = "not_found"


class UnauthorizedError(CuveeError):
    """No API key, or one that is unknown or revoked."""

    kind = "unauthorized"


class ForbiddenError(CuveeError):
    """The API key is known but lacks the scope."""

    kind = "forbidden"


class NotReadyError(CuveeError):
    """Nothing to serve yet, or a part that is needed is down; trying again later can succeed."""

    kind = "not_ready"


class IntegrityError(CuveeError):
    """Stored bytes are not what their manifest or hash says; they are never served."""

    kind = "integrity_error"


class PreconditionError(CuveeError):
    """This machine lacks something that is needed: Java, a free port, disk space."""

    kind = "precondition_failed"


class ProcessDiedError(CuveeError):
    """A process of the stack ended or did not become healthy; the message carries its last log lines."""

    kind = "process_died"
