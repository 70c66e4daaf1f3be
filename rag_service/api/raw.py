"""A stranger's file over HTTP, such that no browser runs anything in it."""

from urllib.parse import quote

from fastapi import Response

from rag_service.documents.contents import Raw

# What a browser shows without running anything of it; all the rest is saved to disk.
_SHOWN = frozenset({"application/pdf", "text/plain", "text/markdown"})


def raw_response(document: Raw) -> Response:
    """The bytes under their own media type and name."""
    disposition = "inline" if document.media_type in _SHOWN else "attachment"
    headers = {
        "Content-Type": document.media_type,
        "Content-Disposition": f"{disposition}; filename*=UTF-8''{quote(document.name, safe='')}",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
    }
    return Response(document.content, headers=headers)
