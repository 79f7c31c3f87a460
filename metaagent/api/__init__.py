"""REST, as a whole: its addresses, its document, and what takes several apps."""
