// Drives the page in Chromium: JSON on standard input says where the page is and what to do there, JSON on standard output
// what came of it. `steps` is the body of an asynchronous function of `page`, `context`, `facts` and `megabytes`.
import { readdirSync, readFileSync } from "node:fs";
import { chromium } from "playwright-core";

const task = JSON.parse(readFileSync(0, "utf-8"));
const context = await chromium.launchPersistentContext(task.profile, {
  executablePath: task.chromium,
  headless: true,
  args: task.flags,
  ...task.options,
});
const requests = [];
const complaints = [];
context.on("request", (request) => requests.push(request.url()));
context.on("weberror", (error) => complaints.push(String(error.error())));
const page = context.pages()[0] ?? (await context.newPage());
page.on("console", (message) => {
  if (["error", "warning"].includes(message.type())) complaints.push(message.text());
});
/** Resident memory of the processes below this one that draw pages, workers included. */
function megabytes() {
  const status = (pid, name) => {
    try {
      return Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(readFileSync(`/proc/${pid}/status`, "utf-8"))[1]);
    } catch {
      return 0; // it has ended
    }
  };
  const isOurs = (pid) => pid === process.pid || (pid > 1 && isOurs(status(pid, "PPid")));
  const isRenderer = (pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "utf-8").includes("--type=renderer");
    } catch {
      return false;
    }
  };
  const pids = readdirSync("/proc").map(Number).filter(Boolean);
  return pids
    .filter((pid) => isRenderer(pid) && isOurs(pid))
    .reduce((sum, pid) => sum + status(pid, "VmRSS") / 1000, 0);
}

try {
  await page.goto(task.address);
  const AsyncFunction = async function () {}.constructor;
  const value = await new AsyncFunction("page", "context", "facts", "megabytes", task.steps)(
    page,
    context,
    task.facts,
    megabytes,
  );
  process.stdout.write(JSON.stringify({ value, requests, complaints }));
} finally {
  await context.close();
}
