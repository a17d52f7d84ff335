"""The front door: Envoy's configuration, rendered from one template and the compiled protos.

`envoy.routes` reads the policy of every RPC from the descriptors, `envoy.render` fills the template,
`envoy.reference` writes the table of RPCs for the docs. `python -m envoy --help` runs them by hand.
"""
