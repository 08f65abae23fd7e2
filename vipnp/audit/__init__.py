"""This library's own audit: the table of cases, definitions as loops over scalars, PyTorch twins, command and page."""
