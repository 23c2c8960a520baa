"""The tree of errors. A class carries what every door needs to know about it.

    TldrError                    code                    exit  fate
    ├── UsageError               usage                     2  permanent  asked for wrongly
    │   ├── DimensionSetError    dimension_set_invalid     2  permanent  with its line, or its field (422)
    │   └── WatermarkError       watermark_invalid         2  permanent  no picture, no such letters
    ├── LeftError                left                    130  permanent  nobody waits; it goes on elsewhere
    ├── NotFoundError            not_found                 5  permanent
    ├── MediaError               media_unreadable          4  permanent  damaged or not media
    │   ├── NotMediaError        not_media                 4  permanent  text, a picture, an empty file
    │   ├── NoStreamsError       no_usable_streams         4  permanent  neither picture nor sound
    │   ├── MediaLimitError      media_over_limit          4  permanent  a bomb, or too large to judge
    │   ├── MediaTimeoutError    media_timeout           124  transient  the process reading it was ended
    │   ├── MediaCrashError      media_crashed             4  permanent  the process reading it died
    │   └── MediaMemoryError     media_over_memory         4  permanent  the process reading it was ended
    ├── SourceError              source_unavailable        8  transient  no answer, or a failing server
    │   ├── AddressError         source_url_not_allowed    2  permanent  one message, whatever the reason
    │   ├── PathError            source_path_not_allowed   2  permanent  one message, whatever the reason
    │   ├── ProtocolError        source_protocol_unsupported 2  permanent  known, and not taken yet
    │   ├── SourceNotFoundError  source_not_found          5  permanent
    │   ├── SourceDeniedError    source_denied             3  permanent  401, 403 and the like
    │   ├── SourceChangedError   source_changed            8  transient  another file than when it was opened
    │   ├── SourceSlowError      source_too_slow         124  transient  silent, dripping, or out of time
    │   ├── SourceLargeError     source_too_large          6  permanent  more bytes than one transfer may have
    │   ├── IncompleteError      source_incomplete         8  transient  fewer bytes than the server promised
    │   ├── RedirectError        source_redirect           8  permanent  too many, from https to http, nowhere
    │   ├── TlsError             source_tls_failed         8  permanent  a certificate that does not hold
    │   ├── ResolverError        resolver_failed           8  transient  it turns pages into media
    │   │   ├── ResolverRefusedError resolver_refused        8  permanent  private, gone, or no page it knows
    │   │   └── NoResolverError    resolver_missing          2  permanent  a page, and nobody for it
    │   └── AnswerError          source_answer_unusable    8  permanent  not HTTP, or not the file
    ├── CutError                 cut_failed                1  permanent  one range; the others go on
    │   ├── RangeError           range_invalid             2  permanent
    │   ├── CutTimeoutError      cut_timeout             124  transient  its process was ended
    │   ├── CutCrashError        cut_crashed               1  permanent  its process died
    │   ├── CutMemoryError       cut_over_memory           1  permanent  its process was ended
    │   └── CutSourceError       cut_source_failed         8  transient  its part of the source was not had
    ├── OutputError              output_unwritable         1  resource   folder missing rights
    │   ├── DiskFullError        disk_full                 1  resource
    │   └── OutputBusyError      output_busy               1  transient  another run holds the folder
    │       └── DataBusyError    data_busy                 1  transient  another server holds the data folder
    ├── StorageError             storage_unavailable       8  resource   where files are kept: no answer (503)
    │   ├── StorageFullError     storage_full              1  resource   no room, or no quota left (507)
    │   ├── StorageSetupError    storage_setup             8  resource   waits for the operator (503)
    │   ├── StorageRefusedError  storage_refused           1  permanent  it will not do what we ask
    │   ├── ObjectNotFoundError  object_not_found          5  permanent  (404)
    │   │   └── ObjectKeyError   object_key_invalid        2  permanent  a name that no file can have (404)
    │   ├── ObjectDamagedError   object_damaged            1  permanent  not the bytes that were stored
    │   └── ObjectMismatchError  object_mismatch           1  permanent  other bytes than announced (422)
    ├── MissingExtraError        extra_missing             2  permanent  names the extra to install
    ├── RequestError             request_invalid           2  permanent  a request that is none (400)
    │   ├── InvalidError         validation_failed         2  permanent  says which fields and why (422)
    │   ├── PasswordError        password_refused          2  permanent  says why and what to do (422)
    │   ├── EmailError           email_invalid             2  permanent  no e-mail address (422)
    │   ├── LinkError            link_invalid              2  permanent  out of a mail: used, or too old (400)
    │   ├── WebhookUrlError      webhook_url_not_allowed   2  permanent  not https, or not public (422)
    │   ├── BodyLimitError       body_too_large            6  permanent  (413)
    │   ├── BodyTypeError        body_type_unsupported     2  permanent  (415)
    │   ├── BodyGoneError        body_incomplete           2  transient  ended before its end (400)
    │   ├── TusVersionError      tus_version               2  permanent  another version of tus (412)
    │   ├── BodySlowError        body_too_slow           124  transient  (408)
    │   ├── MethodError          method_not_allowed        2  permanent  names what is (405)
    │   └── ReusedKeyError       idempotency_mismatch      2  permanent  its key was for another request (422)
    ├── AuthError                unauthorized              3  permanent  who are you? (401)
    │   ├── LoginError           login_failed              3  permanent  address or password is wrong
    │   └── TokenError           token_invalid             3  permanent  an access token that is none of ours
    │       └── TokenExpiredError token_expired             3  permanent  it was one
    ├── ForbiddenError           forbidden                 3  permanent  known, and not allowed (403)
    │   ├── ScopeError           scope_missing             3  permanent  names the scope
    │   ├── RoleError            role_missing              3  permanent  names the role
    │   ├── KeyAddressError      key_address_not_allowed   3  permanent  a key that is bound to networks
    │   ├── CrossSiteError       cross_site                3  permanent  another site's page, with our cookie
    │   ├── FileLinkError        file_link_invalid         3  permanent  to a stored file: too old, changed
    │   ├── SuspendedError       organization_suspended    3  permanent
    │   ├── UnverifiedError      email_unverified          3  permanent  your address is not confirmed yet
    │   ├── ClosedError          registration_closed       3  permanent  the operator makes accounts here
    │   └── WrongPasswordError   password_wrong            3  permanent  asked again, and not the right one
    ├── ConflictError            conflict                  1  permanent  not as things stand (409)
    │   ├── InProgressError      idempotency_in_progress   1  transient  the same call is running
    │   ├── UploadBusyError      upload_busy               1  transient  another call is sending to it
    │   ├── UploadOffsetError    upload_offset             1  permanent  not its next bytes; says which are
    │   ├── EmailTakenError      email_taken               1  permanent  has an account already
    │   ├── LastOwnerError       last_owner                1  permanent  somebody has to be it
    │   ├── PlanFitError         plan_does_not_fit         1  permanent  lists what is too much for it
    │   └── PlanLimitError       plan_limit_reached        1  permanent  as many as the plan has
    ├── LimitError               limited                   6  transient  too often (429), says when again
    │   ├── RateError            rate_limited              6  transient  the key's requests per minute
    │   └── PendingError         too_many_pending          6  transient  as many streams wait as may
    ├── QuotaError               quota_exceeded            6  resource   the plan's amount is used up (402)
    ├── UnavailableError         unavailable               8  transient  a service of ours is away (503)
    │   ├── DatabaseError        database_unavailable      8  transient
    │   ├── BreakerError         breaker_open              8  resource   failed too often, is left alone
    │   ├── BusyError            busy                      8  transient  too many wait already
    │   └── SlowError            too_slow                  8  transient  no answer in time
    ├── InternalError            internal                  1  transient  a mistake of ours; the log has more
    ├── PoisonError              poison                    1  permanent  took its process along three times
    ├── SchemaError              database_schema           1  permanent  made by another release
    ├── PortError                port_taken                1  permanent  nobody can listen at this address
    ├── SecretsError             secrets_unusable          1  permanent  the file of keys; says what to do
    ├── SecretError              secret_unreadable         1  permanent  stored, and no key of ours fits
    └── MailError                mail_unsent               8  transient  no answer, or "not now"
        ├── MailRefusedError     mail_refused              8  permanent  for this recipient or text
        └── MailSetupError       mail_setup                8  resource   waits for the operator

`status` is what the API answers with, 500 where nothing else is said. Exit codes are the contract's:
0 ok, 1 something failed, 2 usage, 3 auth, 4 media, 5 not found, 6 limited, 8 upstream, 124 timeout,
130 interrupted.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Fate(StrEnum):
    """What a retry may hope for."""

    TRANSIENT = "transient"  # try again soon
    PERMANENT = "permanent"  # never again
    RESOURCE = "resource"  # later, without using up tries


class TldrError(Exception):
    """Base of everything this package raises on purpose. `str(error)` is fit to show to a person.

    Of the machine's own disks and stores that person is the operator: customers are told `for_customers`.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    fate: ClassVar[Fate] = Fate.PERMANENT
    for_customers: ClassVar[str | None] = None
    """Instead of its text, which may name folders, keys and hosts of ours; None: the text is fit for them."""

    def __init__(self, *args: object, retry_after: float | None = None, **extra: object) -> None:
        super().__init__(*args)
        self.retry_after = retry_after
        """Seconds after which another try makes sense; None where nobody knows."""
        self.extra = extra
        """Further members of the problem document, fit to show to a person."""

    @property
    def told(self) -> str:
        """What customers are told."""
        return self.for_customers or str(self)


class UsageError(TldrError):
    """The request itself is wrong."""

    code = "usage"
    status = 422
    exit_code = 2


class DimensionSetError(UsageError):
    """A dimension set that cannot be used; the message names file and line, or the field."""

    code = "dimension_set_invalid"


class WatermarkError(UsageError):
    """A watermark that cannot be put on: no picture, too large a one, a text no font can draw."""

    code = "watermark_invalid"


class LeftError(TldrError):
    """Somebody waits no more for what goes on elsewhere."""

    code = "left"
    exit_code = 130


class NotFoundError(TldrError):
    """A file or folder that is not there."""

    code = "not_found"
    status = 404
    exit_code = 5


class MediaError(TldrError):
    """A source that cannot be read as media."""

    code = "media_unreadable"
    status = 422
    exit_code = 4


class NotMediaError(MediaError):
    """Not media at all, whatever its name says."""

    code = "not_media"


class NoStreamsError(MediaError):
    """A container with neither picture nor sound that we can decode."""

    code = "no_usable_streams"


class MediaLimitError(MediaError):
    """More pixels, streams or hours than we are willing to decode."""

    code = "media_over_limit"


class MediaTimeoutError(MediaError):
    """Reading a source took longer than it may."""

    code = "media_timeout"
    exit_code = 124
    fate = Fate.TRANSIENT


class MediaCrashError(MediaError):
    """A source killed the process that read it; the message has its last words."""

    code = "media_crashed"


class MediaMemoryError(MediaError):
    """Reading a source took more memory than it may."""

    code = "media_over_memory"


class SourceError(TldrError):
    """A source on the network that could not be reached or whose server fails."""

    code = "source_unavailable"
    status = 422
    exit_code = 8
    fate = Fate.TRANSIENT


class AddressError(SourceError):
    """An address that may not be connected to, or is none."""

    code = "source_url_not_allowed"
    exit_code = 2
    fate = Fate.PERMANENT


class PathError(SourceError):
    """A path on the server outside the folders that its operator opened for sources."""

    code = "source_path_not_allowed"
    exit_code = 2
    fate = Fate.PERMANENT


class ProtocolError(SourceError):
    """An address of a protocol that is known, and that nothing is fetched by yet."""

    code = "source_protocol_unsupported"
    exit_code = 2
    fate = Fate.PERMANENT


class SourceNotFoundError(SourceError):
    """The server has no such file."""

    code = "source_not_found"
    exit_code = 5
    fate = Fate.PERMANENT


class SourceDeniedError(SourceError):
    """The server wants other credentials."""

    code = "source_denied"
    exit_code = 3
    fate = Fate.PERMANENT


class SourceChangedError(SourceError):
    """Another file is at the address than when it was opened."""

    code = "source_changed"


class SourceSlowError(SourceError):
    """The server is silent or slower than is worth waiting for."""

    code = "source_too_slow"
    exit_code = 124


class SourceLargeError(SourceError):
    """More bytes than one transfer may have."""

    code = "source_too_large"
    exit_code = 6
    fate = Fate.PERMANENT


class IncompleteError(SourceError):
    """The server sent fewer bytes than it promised."""

    code = "source_incomplete"


class RedirectError(SourceError):
    """A redirect that is not followed."""

    code = "source_redirect"
    fate = Fate.PERMANENT


class TlsError(SourceError):
    """No secure connection: mostly a certificate that is not valid for the name."""

    code = "source_tls_failed"
    fate = Fate.PERMANENT


class AnswerError(SourceError):
    """An answer that is not HTTP, or not a file."""

    code = "source_answer_unusable"
    fate = Fate.PERMANENT


class ResolverError(SourceError):
    """What turns pages into addresses of media gave no answer, or one that makes no sense."""

    code = "resolver_failed"


class ResolverRefusedError(ResolverError):
    """A resolver says that there is nothing to be had: private, gone, or no page that it knows."""

    code = "resolver_refused"
    fate = Fate.PERMANENT


class NoResolverError(ResolverError):
    """A page, not media, and no resolver for it is set up here."""

    code = "resolver_missing"
    exit_code = 2
    fate = Fate.PERMANENT


class CutError(TldrError):
    """One clip that could not be made right."""

    code = "cut_failed"
    status = 422
    index: int | None = None  # which of the ranges that were asked for, from 0


class RangeError(CutError):
    """A range that no clip can be made of."""

    code = "range_invalid"
    exit_code = 2


class CutTimeoutError(CutError):
    """A clip that took longer than it may."""

    code = "cut_timeout"
    exit_code = 124
    fate = Fate.TRANSIENT


class CutCrashError(CutError):
    """A clip that killed the process it was cut in; the message has its last words."""

    code = "cut_crashed"


class CutMemoryError(CutError):
    """A clip that took more memory than it may."""

    code = "cut_over_memory"


class CutSourceError(CutError):
    """A range whose part of the source could not be had; the message ends with the source's own code."""

    code = "cut_source_failed"
    exit_code = 8
    fate = Fate.TRANSIENT


class OutputError(TldrError):
    """Results cannot be written."""

    code = "output_unwritable"
    status = 500
    fate = Fate.RESOURCE
    for_customers = "the server cannot write to its disk at the moment"


class DiskFullError(OutputError):
    """No space left where results go."""

    code = "disk_full"
    status = 507
    for_customers = "the server's disk is full"


class OutputBusyError(OutputError):
    """Another run is writing into the same folder."""

    code = "output_busy"
    status = 409
    fate = Fate.TRANSIENT


class DataBusyError(OutputBusyError):
    """Another server works in the same data folder."""

    code = "data_busy"


class StorageError(TldrError):
    """Where files are kept does not answer, or fails."""

    code = "storage_unavailable"
    status = 503
    exit_code = 8
    fate = Fate.RESOURCE  # a bucket may be away for longer than three tries: nothing fails because of it
    for_customers = "where files are kept does not answer, or fails"


class StorageFullError(StorageError):
    """No room left where files are kept."""

    code = "storage_full"
    status = 507
    exit_code = 1
    fate = Fate.RESOURCE
    for_customers = "there is no room where files are kept at the moment"


class StorageSetupError(StorageError):
    """Nothing can be kept until the operator acts: on rights, credentials, a missing bucket or folder."""

    code = "storage_setup"
    fate = Fate.RESOURCE
    for_customers = "files cannot be kept until the operator of this server acts"


class StorageRefusedError(StorageError):
    """Something that this storage will never do."""

    code = "storage_refused"
    status = 500
    exit_code = 1
    fate = Fate.PERMANENT
    for_customers = "where files are kept does not do that"


class ObjectNotFoundError(StorageError):
    """A stored file, or an unfinished upload, that is not there."""

    code = "object_not_found"
    status = 404
    exit_code = 5
    fate = Fate.PERMANENT
    for_customers = "there is no such stored file, or upload that goes on"


class ObjectKeyError(ObjectNotFoundError):
    """A name that no stored file can have."""

    code = "object_key_invalid"
    exit_code = 2


class ObjectDamagedError(StorageError):
    """A stored file that is not what was stored: other bytes, fewer, or its attributes are lost."""

    code = "object_damaged"
    status = 500
    exit_code = 1
    fate = Fate.PERMANENT
    for_customers = "a stored file is damaged"


class ObjectMismatchError(StorageError):
    """A file that came with a hash that is not its own; nothing was stored."""

    code = "object_mismatch"
    status = 422
    exit_code = 1
    fate = Fate.PERMANENT
    for_customers = "the file that came has another SHA-256 than was announced; nothing of it is stored"


class MissingExtraError(TldrError):
    """A feature whose optional dependency is not installed."""

    code = "extra_missing"
    status = 501
    exit_code = 2


class RequestError(TldrError):
    """A request that cannot be read."""

    code = "request_invalid"
    status = 400
    exit_code = 2


class InvalidError(RequestError):
    """A request with fields that are missing, unknown or out of bounds; `extra["errors"]` lists them."""

    code = "validation_failed"
    status = 422


class PasswordError(RequestError):
    """A password that is too short, too long or too easily guessed; the message says what to do."""

    code = "password_refused"
    status = 422


class EmailError(RequestError):
    """A text that is no e-mail address we would write to."""

    code = "email_invalid"
    status = 422


class LinkError(RequestError):
    """A token out of a mail that opens nothing: used, replaced by a newer one, too old, or none of ours."""

    code = "link_invalid"


class WebhookUrlError(RequestError):
    """An address that no events may be sent to: not https, not public, or none at all."""

    code = "webhook_url_not_allowed"
    status = 422


class BodyLimitError(RequestError):
    """A body with more bytes than its operation takes."""

    code = "body_too_large"
    status = 413
    exit_code = 6


class BodyTypeError(RequestError):
    """A body of another media type than its operation takes."""

    code = "body_type_unsupported"
    status = 415


class BodyGoneError(RequestError):
    """A body whose connection ended before it did."""

    code = "body_incomplete"
    fate = Fate.TRANSIENT


class TusVersionError(RequestError):
    """A client of tus that speaks another version than this server; `Tus-Version` says which that is."""

    code = "tus_version"
    status = 412


class BodySlowError(RequestError):
    """A body that took longer to arrive than it may."""

    code = "body_too_slow"
    status = 408
    exit_code = 124
    fate = Fate.TRANSIENT


class MethodError(RequestError):
    """An address that knows other methods; the header `Allow` lists them."""

    code = "method_not_allowed"
    status = 405


class ReusedKeyError(RequestError):
    """An `Idempotency-Key` that was sent with another request before."""

    code = "idempotency_mismatch"
    status = 422


class AuthError(TldrError):
    """Nobody we know: no key or token, or one that is not valid."""

    code = "unauthorized"
    status = 401
    exit_code = 3


class LoginError(AuthError):
    """E-mail address or password is wrong; which of them is not told."""

    code = "login_failed"


class TokenError(AuthError):
    """An access token that we did not make, or not for this."""

    code = "token_invalid"


class TokenExpiredError(TokenError):
    """An access token of ours whose time is over."""

    code = "token_expired"


class ForbiddenError(TldrError):
    """Somebody we know, who may not do this."""

    code = "forbidden"
    status = 403
    exit_code = 3


class ScopeError(ForbiddenError):
    """A key or role without the scope that the operation needs."""

    code = "scope_missing"


class RoleError(ForbiddenError):
    """A login whose role is too low, or a key where a person is asked for."""

    code = "role_missing"


class KeyAddressError(ForbiddenError):
    """A key that may be used from some networks only, used from elsewhere."""

    code = "key_address_not_allowed"


class CrossSiteError(ForbiddenError):
    """A change that comes with our cookie, and not from a page of ours."""

    code = "cross_site"


class FileLinkError(ForbiddenError):
    """A link to a stored file that was changed, or whose time is over."""

    code = "file_link_invalid"


class SuspendedError(ForbiddenError):
    """An organization that an operator suspended."""

    code = "organization_suspended"


class UnverifiedError(ForbiddenError):
    """Something for which the person's e-mail address must be confirmed first."""

    code = "email_unverified"


class ClosedError(ForbiddenError):
    """Registering, where the operator makes accounts."""

    code = "registration_closed"


class WrongPasswordError(ForbiddenError):
    """The password that an operation asks for again is not the person's."""

    code = "password_wrong"


class ConflictError(TldrError):
    """Right in itself, but not as things stand."""

    code = "conflict"
    status = 409


class InProgressError(ConflictError):
    """A call with the same `Idempotency-Key` has not been answered yet."""

    code = "idempotency_in_progress"
    fate = Fate.TRANSIENT


class UploadBusyError(ConflictError):
    """An upload that another call is sending to."""

    code = "upload_busy"
    fate = Fate.TRANSIENT


class UploadOffsetError(ConflictError):
    """Bytes that are not the next ones of an upload; `extra["offset"]` is where those go."""

    code = "upload_offset"


class EmailTakenError(ConflictError):
    """An address that has an account already."""

    code = "email_taken"


class LastOwnerError(ConflictError):
    """An organization would be left without an owner."""

    code = "last_owner"


class PlanFitError(ConflictError):
    """A plan that is too small for what is used; `extra["does_not_fit"]` lists it."""

    code = "plan_does_not_fit"


class PlanLimitError(ConflictError):
    """As many of something as the plan allows; `extra["limit"]` names which."""

    code = "plan_limit_reached"


class LimitError(TldrError):
    """Too often or too many; `retry_after` says when again."""

    code = "limited"
    status = 429
    exit_code = 6
    fate = Fate.TRANSIENT


class RateError(LimitError):
    """More requests per minute than the key may make."""

    code = "rate_limited"


class PendingError(LimitError):
    """As many streams of the organization wait for their turn as may."""

    code = "too_many_pending"


class QuotaError(TldrError):
    """More than the plan includes."""

    code = "quota_exceeded"
    status = 402
    exit_code = 6
    fate = Fate.RESOURCE


class UnavailableError(TldrError):
    """A service that we need is away for the moment."""

    code = "unavailable"
    status = 503
    exit_code = 8
    fate = Fate.TRANSIENT


class DatabaseError(UnavailableError):
    """The database does not answer."""

    code = "database_unavailable"


class InternalError(TldrError):
    """What nobody foresaw. The log has the traceback, under the same trace id."""

    code = "internal"
    fate = Fate.TRANSIENT


class PoisonError(TldrError):
    """Work that ended the process it ran in, again and again, without getting further."""

    code = "poison"


class BreakerError(UnavailableError):
    """A service failed so often that it is not asked for a while; `retry_after` says how long."""

    code = "breaker_open"
    fate = Fate.RESOURCE


class BusyError(UnavailableError):
    """As much is waiting for its turn as may wait."""

    code = "busy"


class SlowError(UnavailableError):
    """A call that took longer than it may; what it was to do may yet be done."""

    code = "too_slow"


class SchemaError(TldrError):
    """A database that this release cannot use as it is; the message says what to do."""

    code = "database_schema"


class PortError(TldrError):
    """An address that the server cannot listen at."""

    code = "port_taken"


class SecretsError(TldrError):
    """The file with the installation's keys cannot be used; the message says what to do."""

    code = "secrets_unusable"


class SecretError(TldrError):
    """A stored secret that none of the installation's keys opens, or that is damaged."""

    code = "secret_unreadable"


class MailError(TldrError):
    """A mail that the mail server could not take now, or did not say that it took."""

    code = "mail_unsent"
    exit_code = 8
    fate = Fate.TRANSIENT


class MailRefusedError(MailError):
    """A mail that the mail server will never take: nobody there, or nothing it lets through."""

    code = "mail_refused"
    fate = Fate.PERMANENT


class MailSetupError(MailError):
    """Nothing can be sent until the operator acts: credentials, certificates, the sender's address."""

    code = "mail_setup"
    fate = Fate.RESOURCE
