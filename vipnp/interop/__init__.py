"""Bridges to other libraries; each module imports its library and nothing here imports it for you."""
