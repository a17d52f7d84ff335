// Generates TypeScript for the public API into src/gen, from the descriptors that the protos were compiled to.
//
// Node alone is enough: ../src/oofgg/v1/api.binpb is committed and checked against the protos, and protoc-gen-es is a
// package. What is generated is not committed; see docs/decisions/0006-browser-package.md.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  CodeGeneratorRequestSchema,
  CodeGeneratorResponseSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "../src/gen");
// Files whose options a client has no use for: imports of them are dropped, as for Python.
const foreign = (name) => name.startsWith("google/api/") || name.startsWith("buf/");

const set = fromBinary(FileDescriptorSetSchema, readFileSync(join(here, "../../src/oofgg/v1/api.binpb")));
const files = set.file.filter((file) => !foreign(file.name));
for (const file of files) {
  file.dependency = file.dependency.filter((name) => !foreign(name));
  dropForeignOptions(file);
}

const request = create(CodeGeneratorRequestSchema, {
  fileToGenerate: files.map((file) => file.name).filter((name) => name.startsWith("oofgg/")),
  parameter: "target=ts,import_extension=js",
  protoFile: files,
});
const plugin = join(here, "../node_modules/@bufbuild/protoc-gen-es/bin/protoc-gen-es");
const done = spawnSync(process.execPath, [plugin], {
  input: toBinary(CodeGeneratorRequestSchema, request),
  maxBuffer: 64 << 20,
  timeout: 60_000,
});
if (done.status !== 0) throw new Error(`protoc-gen-es failed: ${done.stderr}`);
const response = fromBinary(CodeGeneratorResponseSchema, done.stdout);
if (response.error) throw new Error(response.error);

rmSync(out, { recursive: true, force: true });
for (const file of response.file) {
  const path = join(out, file.name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, file.content);
}
console.log(`generated ${response.file.length} files from the protos`);

/** Validation, JSON paths and access are the platform's business: a page need not carry them. */
function dropForeignOptions(file) {
  const messages = [...file.messageType];
  for (const message of messages) {
    messages.push(...message.nestedType);
    for (const field of message.field) delete field.options;
  }
  for (const service of file.service) for (const method of service.method) delete method.options;
}
