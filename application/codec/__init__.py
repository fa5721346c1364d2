"""How the domain's values look outside: JSON-ready documents, one codec for each sort, both ways."""
