"""Show: render documents, never compute."""
