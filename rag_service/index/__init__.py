"""Chunks to vectors to an index generation, and searching it."""

import logging

# It tells, with a stack trace, of every processor-specific build that it does not find.
logging.getLogger("faiss.loader").setLevel(logging.WARNING)
