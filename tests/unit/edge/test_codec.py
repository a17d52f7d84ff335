"""Endpoints as Envoy reads them."""

from __future__ import annotations

from pkg.internal.v1 import xds_pb2 as pb
from services.edge.codec import TYPE_URL, assignment, read_request, write_response
from services.edge.endpoints import Endpoint
from services.edge.subscription import Request, Response

SERVING, DRAINING = Endpoint("10.0.0.1:9000", "a"), Endpoint("[fd00::1]:9001", "b", draining=True)


def test_an_endpoint_carries_its_node_and_one_that_drains_is_in_no_subset() -> None:
    written = assignment("game", (SERVING, DRAINING))
    first, second = written.endpoints[0].lb_endpoints
    assert first.endpoint.address.socket_address == pb.XdsSocketAddress(address="10.0.0.1", port_value=9000)
    assert first.metadata.filter_metadata["envoy.lb"]["node"] == "a"
    assert first.health_status == pb.XDS_HEALTH_UNSPECIFIED
    assert second.endpoint.address.socket_address == pb.XdsSocketAddress(address="fd00::1", port_value=9001)
    assert second.health_status == pb.XDS_HEALTH_DRAINING
    assert not second.HasField("metadata")


def test_no_endpoints_are_no_place() -> None:
    assert assignment("game", ()) == pb.ClusterLoadAssignment(cluster_name="game")


def test_the_version_follows_from_the_content_alone() -> None:
    first = write_response(Response({"game": (SERVING,)}, "1"))
    assert first.resources[0].type_url == first.type_url == TYPE_URL
    assert write_response(Response({"game": (SERVING,)}, "2")).version_info == first.version_info
    assert write_response(Response({"game": (SERVING, DRAINING)}, "1")).version_info != first.version_info
    assert write_response(Response({"game": ()}, "1")).version_info != first.version_info


def test_a_refusal_without_a_text_is_one() -> None:
    message = pb.DiscoveryRequest(resource_names=["game"], response_nonce="3", error_detail=pb.XdsStatus(code=13))
    assert read_request(message) == Request(frozenset({"game"}), "3", "refused")
    message.ClearField("error_detail")
    assert read_request(message).error == ""
