"""What the services share, a package per concern."""
