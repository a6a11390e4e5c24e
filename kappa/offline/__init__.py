"""Inputs answered without a server: values, files, and files of rows in parts."""

__all__: list[str] = []
