"""Connections to providers and their secrets. From outside only services, selectors, links, urls and api are used."""
