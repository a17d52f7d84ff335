"""Endpoints as Envoy's messages."""

from __future__ import annotations

import hashlib

from google.protobuf.any_pb2 import Any

from pkg.internal.v1 import xds_pb2 as pb
from services.edge.endpoints import Endpoint
from services.edge.subscription import Request, Response

TYPE_URL = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"


def read_request(message: pb.DiscoveryRequest) -> Request:
    """A request of the kind TYPE_URL."""
    error = f"{message.error_detail.message or 'refused'}" if message.HasField("error_detail") else ""
    return Request(frozenset(message.resource_names), message.response_nonce, error)


def write_response(response: Response) -> pb.DiscoveryResponse:
    """The message for a response. Its version follows from the content: every edge names the same state alike."""
    written = pb.DiscoveryResponse(type_url=TYPE_URL, nonce=response.nonce)
    digest = hashlib.sha256()
    for name, endpoints in response.endpoints.items():
        value = assignment(name, endpoints).SerializeToString(deterministic=True)
        digest.update(len(value).to_bytes(4, "big") + value)
        written.resources.append(Any(type_url=TYPE_URL, value=value))
    written.version_info = digest.hexdigest()[:16]
    return written


def assignment(cluster: str, endpoints: tuple[Endpoint, ...]) -> pb.ClusterLoadAssignment:
    """The endpoints of a cluster."""
    places = pb.LocalityEndpoints(lb_endpoints=[_endpoint(each) for each in endpoints])
    return pb.ClusterLoadAssignment(cluster_name=cluster, endpoints=[places] if endpoints else [])


def _endpoint(endpoint: Endpoint) -> pb.LbEndpoint:
    host, _, port = endpoint.address.rpartition(":")
    address = pb.XdsSocketAddress(address=host.strip("[]"), port_value=int(port))
    written = pb.LbEndpoint(endpoint=pb.XdsEndpoint(address=pb.XdsAddress(socket_address=address)))
    if endpoint.draining:
        # In no subset: one whose only endpoint takes nothing would refuse calls instead of leaving them to others.
        written.health_status = pb.XDS_HEALTH_DRAINING
    else:
        written.metadata.filter_metadata["envoy.lb"].update({"node": endpoint.node})
    return written
