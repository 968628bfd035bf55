"""How each venue speaks, written from its public documentation and apart from our parsers."""
