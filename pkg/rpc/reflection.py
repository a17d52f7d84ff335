"""Reflection of the public services, v1 and v1alpha.

Every process answers for all public services, whichever it serves, because Envoy routes reflection to one cluster.
"""

from __future__ import annotations

from importlib.resources import files

import grpc
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._async import ReflectionServicer

_METHOD = "ServerReflectionInfo"
# The messages of v1 are those of v1alpha under another name.
_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")

_ERRORS = "oofgg/v1/errors.proto"
_DETAILS = ("ErrorInfo", "BadRequest", "RetryInfo")
_DURATION = "google/protobuf/duration.proto"


def api_descriptors() -> FileDescriptorSet:
    """The public services, with comments and options, as generated from the protos."""
    return FileDescriptorSet.FromString(files("oofgg.v1").joinpath("api.binpb").read_bytes())


def error_details(ours: FileDescriptorProto) -> FileDescriptorProto:
    """The details of errors under the names they travel by, so that a tool can show them."""
    details = FileDescriptorProto(
        name="google/rpc/error_details.proto", package="google.rpc", syntax="proto3", dependency=[_DURATION]
    )
    details.message_type.extend(message for message in ours.message_type if message.name in _DETAILS)
    stack: list[DescriptorProto] = [*details.message_type]
    while stack:
        message = stack.pop()
        stack.extend(message.nested_type)
        for field in (field for field in message.field if field.type_name):
            field.type_name = field.type_name.replace(f".{ours.package}.", ".google.rpc.")
    return details


class Reflection:
    """Answers reflection from the committed description of the public services."""

    def __init__(self) -> None:
        pool = DescriptorPool()
        self.services: list[str] = []
        for file in api_descriptors().file:
            pool.AddSerializedFile(file.SerializeToString())
            self.services += [f"{file.package}.{service.name}" for service in file.service]
            if file.name == _ERRORS:
                pool.AddSerializedFile(error_details(file).SerializeToString())
        self._servicer = ReflectionServicer(self.services, pool)

    def bind(self, server: grpc.aio.Server) -> None:
        """Adds both versions to a server."""
        handler = grpc.stream_stream_rpc_method_handler(
            self._servicer.ServerReflectionInfo,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        for service in _SERVICES:
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {_METHOD: handler}),))
