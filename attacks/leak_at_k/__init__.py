"""Knowledge that comes out when facts are asked for again and again."""
