"""Parameters of other programs' networks, turned into ours."""
