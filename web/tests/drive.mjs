// Drives the page in Chromium: JSON on standard input says where the page is and what to do there, JSON on standard output
// what came of it. `steps` is the body of an asynchronous function of `page`, `context` and `facts`.
import { readFileSync } from "node:fs";
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
try {
  await page.goto(task.address);
  const AsyncFunction = async function () {}.constructor;
  const value = await new AsyncFunction("page", "context", "facts", task.steps)(page, context, task.facts);
  process.stdout.write(JSON.stringify({ value, requests, complaints }));
} finally {
  await context.close();
}
