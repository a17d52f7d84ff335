"""AccountService on the wire."""

from __future__ import annotations

from datetime import UTC

from oofgg.v1 import account_pb2 as pb
from pkg.db.database import Connection
from pkg.db.replies import once
from pkg.rpc.call import Call, StreamCall
from services.auth.accounts import Account
from services.auth.messages import CALLER_ROLES, account_message, origin_of
from services.auth.self_service import SelfService

_CHUNK_BYTES = 64 * 1024


class AccountServicer:
    """Proto in, self-service, proto out."""

    def __init__(self, self_service: SelfService) -> None:
        self._self_service = self_service

    async def update_account(self, request: pb.UpdateAccountRequest, call: Call) -> pb.UpdateAccountResponse:
        told = request.account

        async def effect(connection: Connection) -> pb.UpdateAccountResponse:
            new = Account(
                user_id=call.caller.user_id,
                role=call.caller.role,
                create_time=told.create_time.ToDatetime(UTC),
                username=told.username,
                email=told.email,
                display_name=told.display_name,
                avatar_url=told.avatar_url,
                language=told.language,
            )
            changed = await self._self_service.update(
                connection, call.caller, new, request.update_mask.paths, origin_of(call)
            )
            return pb.UpdateAccountResponse(account=account_message(changed))

        return await once(
            self._self_service.identity.stores.database,
            caller=call.caller.user_id,
            rpc=call.method,
            request_id=request.request_id,
            request=request,
            response=pb.UpdateAccountResponse,
            effect=effect,
        )

    async def change_password(self, request: pb.ChangePasswordRequest, call: Call) -> pb.ChangePasswordResponse:
        await self._self_service.change_password(
            call.caller, request.old_password, request.new_password, origin_of(call)
        )
        return pb.ChangePasswordResponse()

    async def link_password(self, request: pb.LinkPasswordRequest, call: Call) -> pb.LinkPasswordResponse:
        account = await self._self_service.link_password(
            call.caller, request.username, request.email, request.password, origin_of(call)
        )
        return pb.LinkPasswordResponse(account=account_message(account))

    async def unlink_password(self, request: pb.UnlinkPasswordRequest, call: Call) -> pb.UnlinkPasswordResponse:
        account = await self._self_service.unlink_password(call.caller, request.password, origin_of(call))
        return pb.UnlinkPasswordResponse(account=account_message(account))

    async def link_device(self, request: pb.LinkDeviceRequest, call: Call) -> pb.LinkDeviceResponse:
        account = await self._self_service.link_device(call.caller, request.device_id, origin_of(call))
        return pb.LinkDeviceResponse(account=account_message(account))

    async def unlink_device(self, request: pb.UnlinkDeviceRequest, call: Call) -> pb.UnlinkDeviceResponse:
        account = await self._self_service.unlink_device(call.caller, request.device_id, origin_of(call))
        return pb.UnlinkDeviceResponse(account=account_message(account))

    async def export_account(self, _: pb.ExportAccountRequest, call: StreamCall) -> None:
        waiting = bytearray()
        async for piece in self._self_service.export(call.caller, call, origin_of(call)):
            waiting += piece.encode()
            while len(waiting) >= _CHUNK_BYTES:
                await call.write(pb.ExportAccountResponse(chunk=bytes(waiting[:_CHUNK_BYTES])))
                del waiting[:_CHUNK_BYTES]
        await call.write(pb.ExportAccountResponse(chunk=bytes(waiting)))

    async def delete_account(self, request: pb.DeleteAccountRequest, call: Call) -> pb.DeleteAccountResponse:
        await self._self_service.delete(call.caller, request.username, request.password, call, origin_of(call))
        return pb.DeleteAccountResponse()

    async def set_role(self, request: pb.SetRoleRequest, call: Call) -> pb.SetRoleResponse:
        account = await self._self_service.set_role(
            request.username, CALLER_ROLES[request.role], call.caller.user_id, origin_of(call)
        )
        return pb.SetRoleResponse(account=account_message(account))
