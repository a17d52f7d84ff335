"""Accounts, logins and keys."""
