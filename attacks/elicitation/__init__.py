"""Knowledge that comes out when facts are asked for in other ways."""
