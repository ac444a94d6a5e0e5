"""Files: what people and applications attach, and the URLs of it. Pure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from discordplex.loopback.discord.world.directory import Directory

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that somebody attaches."""

    filename: str
    content: bytes
    told_bytes: int | None = None
    """The size that the attachment names; None is the true one."""


class Files:
    """Every attached file by its id; none is dropped while the loopback runs."""

    def __init__(self, directory: "Directory") -> None:
        self.endpoint = ""
        """host:port of the web server, set once it listens."""
        self._directory = directory
        self._files: dict[str, Upload] = {}

    def keep(self, upload: Upload) -> Json:
        """Keep a file, and return its attachment object."""
        file_id = self._directory.snowflake()
        self._files[file_id] = upload
        url = f"https://{self.endpoint}/attachments/{file_id}/{quote(upload.filename)}"
        kind = "application/json" if upload.filename.endswith(".json") else "application/octet-stream"
        return {
            "id": file_id,
            "filename": upload.filename,
            "size": len(upload.content) if upload.told_bytes is None else upload.told_bytes,
            "url": url,
            "proxy_url": url,
            "content_type": kind,
        }

    def find(self, file_id: str) -> Upload | None:
        """A file by its attachment's id."""
        return self._files.get(file_id)
