"""What goes wrong between here and the Hub, as one line that says what to do. Never a request: it carries the token."""

import json
from http import HTTPStatus

from netllama.core.credentials import list_secrets
from netllama.core.errors import StageError
from netllama.models.hub_waits import limit_waits

TOKENS = "https://huggingface.co/settings/tokens"
_LONGEST = 240
_QUOTA = ("quota", "storage", "limit reached", "payment", "billing")


class clear_upload_errors:
    """Within the block, an error of huggingface_hub becomes a StageError of one line."""

    def __init__(self, repo_id: str, token: str) -> None:
        self.repo_id = repo_id
        self.token = token

    def __enter__(self) -> None:
        limit_waits()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, StageError):
            reason = explain_upload_error(error)
            if reason is not None:
                raise StageError(f"{self.repo_id}: {self._redact(reason)}") from None

    def _redact(self, reason: str) -> str:
        """The reason in one line, without a secret that a server repeated."""
        line = " ".join(reason.split())
        for secret in {self.token, *list_secrets()}:
            line = line.replace(secret, "[secret]")
        return line


def explain_upload_error(error: BaseException) -> str | None:
    """None: it is not of the Hub, but a bug of ours."""
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it to publish"
    if isinstance(error, errors.HfHubHTTPError):
        return _explain_status(error.response.status_code, error.server_message or _read_body(error))
    if isinstance(error, errors.HTTPError):  # httpx's errors of the connection
        return (
            f"the Hub can't be reached, or the connection broke ({type(error).__name__}); what was uploaded is kept, "
            "run the same command again"
        )
    if isinstance(error, json.JSONDecodeError):
        return "what answered is not the Hub (a proxy?); look at HF_ENDPOINT and at the proxy settings"
    if isinstance(error, RuntimeError | ValueError):
        # The client wraps the error of a file, and tells the errors of the storage as text.
        if error.__cause__ is not None:
            return explain_upload_error(error.__cause__)
        if str(error).startswith("LFS batch API"):
            return _explain_status(HTTPStatus.FORBIDDEN, str(error).rpartition("`")[2])
        if str(error).startswith("Invalid metadata in README.md"):
            return f"the Hub refuses the model card's metadata: {str(error).partition(chr(10))[2]}"
    return None


def _read_body(error: object) -> str:
    response = getattr(error, "response", None)
    try:
        return str(response.json().get("error", "")) if response is not None else ""
    except (ValueError, AttributeError):
        return ""


def _explain_status(status: int, message: str) -> str:
    said = f" ({' '.join(message.split())[:_LONGEST]})" if message.strip() else ""
    if status in (402, 403, 413, 507) and any(word in message.lower() for word in _QUOTA):
        return f"the Hub has no room for it{said}; free space or take a larger plan, then run the same command again"
    if status == HTTPStatus.UNAUTHORIZED:
        return f"the token is not valid any more{said}; make a new one at {TOKENS}"
    if status == HTTPStatus.FORBIDDEN:
        return (
            f"the token may not write there{said}; make one with write access to it at {TOKENS}, or take a name in an "
            "account of your own"
        )
    if status == HTTPStatus.CONFLICT:
        return f"the name is taken, or another upload is under way{said}; wait, or take another --repo-id"
    if status == HTTPStatus.PRECONDITION_FAILED:
        return "another upload has changed it meanwhile; nothing was committed, run the same command again"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return f"too many requests for your account{said}; run the same command again later"
    if status == HTTPStatus.NOT_FOUND:
        return f"no such repository for this token{said}; make a token that may read and write it at {TOKENS}"
    again = "; nothing is lost, run the same command again" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else ""
    return f"the Hub answered {status}{said}{again}"
