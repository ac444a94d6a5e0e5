"""Servers with the OpenAI-compatible API: which ones the settings name, one client for all requests, and what their failures mean.

Start with `service.py`, then `clients.py`. The packages of the extra `cascade` are imported when `Clients` is made. Others import
`clients`, `faults`, `models`, `response` and `service`.
"""
