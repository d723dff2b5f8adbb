"""Sections: each module turns one kind of document into blocks of text, figures and tables."""
