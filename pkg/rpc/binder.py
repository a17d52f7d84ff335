"""Binds a servicer to a service of the protos.

A servicer is a plain class with one snake_case coroutine per RPC. Unary: `(request, call) -> response`. Server
stream: `(request, call) -> None`, writing to the call. Bidirectional: `(call) -> None`, reading and writing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from pkg.rpc.access import rule_of
from pkg.rpc.pipeline import Pipeline
from pkg.rpc.validation import parser_of


@dataclass(frozen=True, slots=True)
class Binding:
    """A service of the protos and the object that answers for it."""

    service: ServiceDescriptor
    servicer: object


def handlers_of(binding: Binding, pipeline: Pipeline) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """The handlers of a service by RPC name. Raises TypeError when the servicer lacks one."""
    return {method.name: _handler(binding, method, pipeline) for method in binding.service.methods}


def _handler(binding: Binding, method: MethodDescriptor, pipeline: Pipeline) -> grpc.RpcMethodHandler[Any, Any]:
    name = snake_case(method.name)
    behaviour = getattr(binding.servicer, name, None)
    if behaviour is None:
        raise TypeError(f"{type(binding.servicer).__name__} has no `{name}`: {method.full_name} would go unserved")
    parse = parser_of(GetMessageClass(method.input_type))
    full_name = f"{binding.service.full_name}/{method.name}"
    rule = rule_of(method)
    if method.client_streaming and method.server_streaming:
        return grpc.stream_stream_rpc_method_handler(
            pipeline.bidirectional(full_name, rule, behaviour),
            request_deserializer=parse,
            response_serializer=_encode,
        )
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(
            pipeline.server_stream(full_name, rule, behaviour),
            request_deserializer=parse,
            response_serializer=_encode,
        )
    if method.client_streaming:
        raise TypeError(f"{method.full_name}: client streams are not offered; browsers cannot speak them")
    return grpc.unary_unary_rpc_method_handler(
        pipeline.unary(full_name, rule, behaviour),
        request_deserializer=parse,
        response_serializer=_encode,
    )


def _encode(message: Message | bytes) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def snake_case(name: str) -> str:
    """`GetLeaderboard` → `get_leaderboard`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
