// Drives Chromium for the tests beside it: one JSON command a line on stdin, one answer a line on stdout.
//
//     node driver.js <package.json that has playwright-core> <chromium> <user data directory> <host resolver rules>
//
// A command is [page, method of Playwright's Page, arguments]. Two are ours: "open" makes the page, in a context of its
// own, and "log" tells what it has requested and written to its console.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [manifest, executablePath, dataDirectory, resolverRules] = process.argv.slice(2);
const { chromium } = createRequire(manifest)("playwright-core");
const PATIENCE_MS = 30_000;

const browser = await chromium.launch({
  executablePath,
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    `--host-resolver-rules=${resolverRules}`,
  ],
  env: { ...process.env, HOME: dataDirectory, XDG_CONFIG_HOME: dataDirectory, XDG_CACHE_HOME: dataDirectory },
  timeout: PATIENCE_MS,
});
const pages = new Map();

async function open() {
  const context = await browser.newContext({
    viewport: { width: 720, height: 900 },
    deviceScaleFactor: 1,
    // The certificate is one for development, whose authority this browser does not know.
    ignoreHTTPSErrors: true,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  const log = { requests: [], console: [], protocols: {} };
  const network = await context.newCDPSession(page);
  await network.send("Network.enable");
  network.on("Network.responseReceived", ({ response }) => (log.protocols[response.url] = response.protocol));
  const entries = new Map();
  page.on("request", (request) => {
    const entry = { url: request.url(), method: request.method(), status: null, grpcStatus: null, state: "open" };
    entries.set(request, entry);
    log.requests.push(entry);
  });
  page.on("response", (response) => {
    const entry = entries.get(response.request());
    entry.status = response.status();
    entry.grpcStatus = response.headers()["grpc-status"] ?? null;
  });
  page.on("requestfinished", (request) => (entries.get(request).state = "finished"));
  page.on("requestfailed", (request) => (entries.get(request).state = `failed: ${request.failure()?.errorText}`));
  page.on("console", (message) => log.console.push(message.text()));
  page.on("pageerror", (error) => log.console.push(`uncaught: ${error.message}`));
  return { page, log };
}

async function obey([name, method, args]) {
  if (method === "open") {
    pages.set(name, await open());
    return null;
  }
  const { page, log } = pages.get(name);
  if (method === "log") return log;
  const answer = await page[method](...args);
  return ["string", "number", "boolean"].includes(typeof answer) ? answer : null;
}

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    answer = { value: await obey(JSON.parse(line)) };
  } catch (error) {
    answer = { error: String(error.message ?? error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
await browser.close();
