"""Which fields a JSON body may have: a script for Envoy that names those that nobody knows.

Envoy's transcoder drops fields that it does not know: a misspelt `Score` would become a score of 0. A script in front
of the transcoder reads the names in a body and compares them with the message that the path takes. It passes unknown
names to the service in a header, and the service refuses the call as it refuses any invalid field
(docs/decisions/0014-unknown-json-fields.md).

The script also refuses bodies that are not declared to be JSON: a page of a foreign origin can send those without a
preflight.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool

from envoy.routes import Route

UNKNOWN_FIELDS_HEADER: Final = "x-oofgg-unknown-fields"
METHODS_WITH_A_BODY: Final = ("POST", "PUT", "PATCH")
# What the header may name; the rest is not told.
_MAX_NAMES: Final = 10
_MAX_NAME_BYTES: Final = 64

_SCRIPT: Final = """
local bodies = {bodies}
local types = {types}
local has_body = {has_body}
types[""] = {{}} -- of what is a text or a number: nothing in it has a name

-- Whether what stands outside texts and brackets is JSON: the transcoder also takes names without quotes and the like.
local function is_plain(gap)
  local word = gap:gsub("[%s:]", "")
  return word == "" or word == "true" or word == "false" or word == "null"
    or word:find("^-?%d+%.?%d*[eE]?[+-]?%d*$") ~= nil
end

-- Names of a body that its message does not have, as paths; nil for what is not JSON. `kind` is the message's table of
-- fields: true for a value, the name of a table for a message, and a table with the same of its values for a map.
local function unknown_fields(body, kind)
  local found, count = {{}}, 0
  local stack, top = {{}}, nil
  local value = kind
  local at, before, comma = 1, 1, false
  while true do
    at = body:find('["{{}}%[%],]', at)
    if not is_plain(body:sub(before, (at or #body + 1) - 1)) then return nil end
    if at == nil then
      if top then return nil end
      return found
    end
    local mark = body:sub(at, at)
    if mark == '"' then
      local first = at + 1
      local last = first
      while true do
        last = body:find('["\\\\]', last)
        if last == nil then return nil end
        if body:sub(last, last) == '"' then break end
        last = last + 2
      end
      if top and top.is_object and top.awaits_name then
        top.awaits_name = false
        local name = body:sub(first, last - 1)
        top.name = name
        local fields = top.fields
        if fields == nil then
          value = nil
        elseif type(fields) == "table" then
          value = fields[1]
        else
          value = types[fields][name]
          if value == nil and count < {max_names} then
            local path = name
            for depth = #stack, 1, -1 do
              if stack[depth].name then path = stack[depth].name .. "." .. path end
            end
            count = count + 1
            found[count] = path:sub(1, {max_bytes}):gsub("[^%w_.%-]", "?")
          end
          if value == true then value = "" end
        end
      end
      at = last + 1
      comma = false
    else
      if mark == "{{" then
        if top then stack[#stack + 1] = top end
        top = {{ is_object = true, awaits_name = true, fields = value }}
      elseif mark == "[" then
        if top then stack[#stack + 1] = top end
        top = {{ is_object = false, fields = value }}
      elseif mark == "," then
        if top and top.is_object then top.awaits_name = true elseif top then value = top.fields end
      else
        if comma then return nil end
        top = stack[#stack]
        stack[#stack] = nil
        if top and not top.is_object then value = top.fields end
      end
      comma = mark == ","
      at = at + 1
    end
    before = at
  end
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local method = headers:get(":method")
  if not has_body[method] then return end
  -- The transcoder takes a path with a slash at its end for the same.
  local path = headers:get(":path"):match("^[^?]*"):gsub("/+$", "")
  local kind = bodies[method .. " " .. path]
  if kind == nil then
    -- Nothing that is known here, and so nothing that a service may take for checked.
    headers:add("{header}", "(path)")
    return
  end
  local content_type = (headers:get("content-type") or ""):lower()
  if not content_type:find("^application/json *$") and not content_type:find("^application/json *;")
      and not content_type:find("^application/[%w.%-]+%+json") then
    handle:respond({{ [":status"] = "415" }}, "Not declared to be JSON.")
    return
  end
  local body = handle:body()
  if body == nil then return end
  local found = unknown_fields(body:getBytes(0, body:length()), kind)
  if found == nil then
    handle:respond({{ [":status"] = "400" }}, "Not JSON.")
  elseif #found > 0 then
    -- The headers have to be asked for again: what was held before the body came is void.
    handle:headers():add("{header}", table.concat(found, ","))
  end
end
"""


def script(descriptors: FileDescriptorSet, routes: Sequence[Route]) -> str:
    """The script for all JSON paths of these routes that take a body."""
    pool = DescriptorPool()
    for file in descriptors.file:
        pool.Add(file)
    bodies: dict[str, str] = {}
    types: dict[str, str] = {}
    for route in routes:
        if route.json is not None and route.json.method in METHODS_WITH_A_BODY:
            request = pool.FindServiceByName(route.service).methods_by_name[route.method].input_type
            bodies[f"{route.json.method} {route.json.path}"] = f'"{request.full_name}"'
            _add(types, request)
    return _SCRIPT.format(
        bodies=_table(bodies),
        types=_table(types),
        has_body=_table(dict.fromkeys(METHODS_WITH_A_BODY, "true")),
        header=UNKNOWN_FIELDS_HEADER,
        max_names=_MAX_NAMES,
        max_bytes=_MAX_NAME_BYTES,
    )


def _add(types: dict[str, str], kind: Descriptor) -> None:
    if kind.full_name in types:
        return
    types[kind.full_name] = ""  # its place, should it contain itself
    fields: dict[str, str] = {}
    for field in kind.fields:
        # Protobuf's JSON takes both names of a field.
        fields[field.name] = fields[field.json_name] = _value(types, field)
    types[kind.full_name] = _table(fields)


def _value(types: dict[str, str], field: FieldDescriptor) -> str:
    kind = field.message_type
    # Times, masks and the like are texts in JSON.
    if kind is None or kind.full_name.startswith("google.protobuf."):
        return "true"
    if kind.GetOptions().map_entry:
        inner = _value(types, kind.fields_by_name["value"])
        return f"{{ {inner} }}" if inner != "true" else "{}"
    _add(types, kind)
    return f'"{kind.full_name}"'


def _table(entries: dict[str, str]) -> str:
    return "{ " + ", ".join(f"[{json.dumps(key)}] = {value}" for key, value in entries.items()) + " }"
