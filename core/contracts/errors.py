"""The error types of the whole system; the type decides who retries and who gives up."""

from __future__ import annotations


class EstateError(Exception):
    """Root of every error that the system raises on purpose."""


class ContractError(EstateError):
    """Input that breaks a contract; never retried.

    ``field`` is the dotted path of the offending field (empty when the whole input is
    unreadable) and ``remedy`` says what would be accepted.
    """

    def __init__(self, reason: str, *, field: str = "", remedy: str = "") -> None:
        self.reason = reason
        self.field = field
        self.remedy = remedy
        super().__init__(
            (f"{field}: " if field else "") + reason + (f"; {remedy}" if remedy else "")
        )


class NewerVersionError(ContractError):
    """A message in a version of the wire that this program does not know yet."""


class SettingsError(EstateError):
    """Settings that cannot be used; the message names the key and the remedy."""


class RetryableError(EstateError):
    """The other side is not there or not able now; the same call may succeed later."""


class StoreUnavailableError(RetryableError):
    """A store does not answer, or answers that it cannot take the write now."""


class StoreLostError(StoreUnavailableError):
    """A store, or a part of it, is gone: whoever writes it opens it anew and begins where it says.

    The message says what is gone.
    """


class InUseError(StoreUnavailableError):
    """Something that one process writes is another's, for as long as that one runs."""


class QueryTooLargeError(EstateError):
    """A question whose answer would be too large; the message says what to ask for instead."""


class PointRefusedError(EstateError):
    """A store refuses these points for good (a 4xx); they belong in the dead letters."""


class JournalError(EstateError):
    """Root of the journal's errors."""


class JournalCorruptError(JournalError):
    """The journal's file fails its integrity check; the message says what to do with it."""


class ForeignFileError(JournalError):
    """The file is not a journal, or one of a newer format or of another owner."""


class JournalFullError(JournalError, RetryableError):
    """The byte budget or the disk is used up and this journal refuses rather than evicts."""


class DeviceError(RetryableError):
    """A device did not answer, or its answer could not be read."""


class DeviceRefusedError(DeviceError):
    """A device answered with an error of its own; ``code`` is the raw code."""

    def __init__(self, message: str, code: str) -> None:
        self.code = code
        super().__init__(message)
