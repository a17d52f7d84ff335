"""Tells Envoy where the services are."""
