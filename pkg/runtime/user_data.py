"""What services keep about people, offered to `auth` for exports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from pkg.errors import NotFound, Reason
from pkg.internal.v1 import user_data_pb2
from pkg.rpc.binder import Binding
from pkg.rpc.call import Call

# (user id, page token) → JSON documents, and the token of the next page.
ExportUser = Callable[[str, str], Awaitable[tuple[Sequence[str], str]]]


class _Servicer:
    def __init__(self, exporters: Mapping[str, ExportUser]) -> None:
        self._exporters = exporters

    async def export_user(self, request: user_data_pb2.ExportUserRequest, _: Call) -> user_data_pb2.ExportUserResponse:
        exporter = self._exporters.get(request.service)
        if exporter is None:
            raise NotFound(Reason.ACCOUNT_NOT_FOUND, f"This process does not serve {request.service}.")
        documents, more = await exporter(request.user_id, request.page_token)
        return user_data_pb2.ExportUserResponse(documents=documents, next_page_token=more)


def user_data_binding(exporters: Mapping[str, ExportUser]) -> Binding:
    """The internal service of a process, over the exporters of its services by their name."""
    return Binding(user_data_pb2.DESCRIPTOR.services_by_name["UserDataService"], _Servicer(exporters))
