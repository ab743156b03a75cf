"""Folders of files into documents, one after another, and a list of what could not be read.

The order is that of the paths' characters, whatever the file system says. A document is read when its turn comes, so
that a corpus of any size takes the memory of one file.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from netllama.core.errors import StageError
from netllama.core.files import hash_file, hash_json
from netllama.documents.document import Document
from netllama.documents.dropped import DropError, Dropped
from netllama.documents.file_formats import FORMATS, MAX_BYTES, read_outline
from netllama.documents.folder_listing import CorpusFile, folder_name, list_folders
from netllama.documents.outline import Outline, build_document


class CorpusReading:
    """The documents of some folders. `dropped` and `counts` are complete once `documents` is read to its end."""

    def __init__(self, folders: Sequence[Path], max_bytes: int) -> None:
        self._listed = list_folders(folders)
        self._max_bytes = max_bytes
        self.dropped: list[Dropped] = []
        """In the order of the files."""
        self.counts: Counter[str] = Counter()
        """Documents by format."""

    @property
    def documents(self) -> Iterator[Document]:
        """Each in its turn; asked for again, the files are read again.

        Raises StageError at the end if there was none in some folder.
        """
        self.dropped, self.counts = [], Counter()
        first_of: dict[bytes, str] = {}
        for folder, listed in self._listed.items():
            before = self.counts.total()
            for item in listed:
                document = self._read_item(item, first_of)
                if document:
                    yield document
            if self.counts.total() == before:
                raise StageError(self._describe_nothing(folder))

    def hash_files(self) -> str:
        """Of the names and bytes of everything in the folders: equal ones give the same documents and drops."""
        return hash_json([_describe(item) for listed in self._listed.values() for item in listed])

    def _read_item(self, item: CorpusFile | Dropped, first_of: dict[bytes, str]) -> Document | None:
        """`first_of`: by the hash of its words, the first document with them. None: it was dropped."""
        if isinstance(item, Dropped):
            self.dropped.append(item)
            return None
        try:
            outline = self._read_outline(item)
            document = build_document(item.path, outline)
            if len(document.sections) == 1 and not document.sections[0].blocks:
                raise DropError("empty", "there is no text in it besides a title")
            if first := first_of.get(digest := _hash_words(outline)):
                raise DropError("duplicate", f"the same text as {first}")
        except DropError as error:
            self.dropped.append(Dropped(file=item.path, cause=error.cause, reason=error.reason))
            return None
        first_of[digest] = item.path
        for page in outline.scanned_pages:
            reason = "there is no text on it: a scanned page, which needs text recognition first"
            self.dropped.append(Dropped(file=item.path, page=page, cause="scanned", reason=reason))
        self.counts[_format_of(item)] += 1
        return document

    def _read_outline(self, item: CorpusFile) -> Outline:
        if item.bytes > self._max_bytes:
            sizes = f"{item.bytes / 2**20:,.1f} MiB are above the limit of {self._max_bytes / 2**20:,.1f}"
            raise DropError("too_large", f"{sizes}; split the file")
        try:
            return read_outline(item.file, _format_of(item))
        except OSError as error:
            raise DropError("unreadable", f"can't be read: {error.strerror}") from None

    def _describe_nothing(self, folder: Path) -> str:
        dropped = [item for item in self.dropped if item.file.startswith(f"{folder_name(folder)}/")]
        if not dropped:
            return f"{folder}: an empty folder; put documents into it that end in {', '.join(FORMATS)}"
        first = next((item for item in dropped if item.is_failure), dropped[0])
        return f"{folder}: nothing in it could be read: {len(dropped)} dropped, among them {first}"


def read_corpus(folders: Sequence[Path], max_bytes: int = MAX_BYTES) -> CorpusReading:
    """Raises StageError for a folder that doesn't exist."""
    if not folders:
        raise StageError("no corpus folder is named")
    return CorpusReading(folders, max_bytes)


def _describe(item: CorpusFile | Dropped) -> str:
    """What tells it from another: a file's path and the hash of its bytes."""
    if isinstance(item, Dropped):
        return str(item)
    try:
        return f"{item.path} {hash_file(item.file)}"
    except OSError as error:
        return f"{item.path} can't be read: {error.strerror}"


def _format_of(listed: CorpusFile) -> str:
    return FORMATS[listed.file.suffix.lower()]


def _hash_words(outline: Outline) -> bytes:
    """The same for files of the same title and words, whatever stands between them. A file's name is no title here."""
    unnamed = build_document("", outline)
    digest = sha256()
    for section in unnamed.sections:
        for text in (*section.headings, *(block.whole for block in section.blocks)):
            digest.update(" ".join(text.split()).encode())
            digest.update(b"\0")
    return digest.digest()[:16]
