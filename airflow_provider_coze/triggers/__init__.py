"""Waiting without a worker: triggers poll, report ids and a status once, and fetch nothing that is long or secret."""
