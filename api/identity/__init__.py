"""Callers and people whom other servers authenticate: signed tokens of services, and logins by OpenID Connect."""
