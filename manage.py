#!/usr/bin/env python
"""Runs the product's commands: `python manage.py help`."""

from metaagent.__main__ import main

if __name__ == "__main__":
    main()
