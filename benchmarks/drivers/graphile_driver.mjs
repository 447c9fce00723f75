// Drives graphile-worker, in the Node.js that is installed beside it. The options are those of common.py, and two of its
// own: --local-queue, jobs that are fetched at once (-1: one by one), and --delay, milliseconds that completions are
// gathered for (-1: each goes out alone).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";

const require = createRequire(process.execPath);
const pg = require("pg");
const { Logger, makeWorkerUtils, run, runMigrations } = require("graphile-worker");

const logger = new Logger(() => () => {});
const NAMES = ["url", "jobs", "slots", "batch", "rate", "sleep", "local-queue", "delay"];
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: Object.fromEntries(NAMES.map((name) => [name, { type: "string" }])),
});
const number = (name, otherwise) => (values[name] === undefined ? otherwise : Number(values[name]));
const jobs = number("jobs", 100000);
const slots = number("slots", 1);
const connection = { connectionString: values.url };

async function watcher() {
  const client = new pg.Client({ ...connection, application_name: "benchmark watcher" });
  await client.connect();
  return client;
}

const preset = {
  worker: {
    ...connection,
    concurrentJobs: slots,
    maxPoolSize: slots + 1,
    localQueue: { size: number("local-queue", -1) },
    completeJobBatchDelay: number("delay", -1),
    failJobBatchDelay: number("delay", -1),
  },
};
const start = (task) => run({ preset, taskList: { benchmark: task }, noHandleSignals: true, logger });
const microseconds = (since, count = jobs) => {
  const used = process.cpuUsage(since);
  return (used.user + used.system) / count;
};

async function prepare() {
  await runMigrations({ ...connection, logger });
  return {};
}

// Finished jobs are deleted, so what is no longer there is done.
async function check() {
  const client = await watcher();
  const { rows } = await client.query(
    "SELECT count(*) FILTER (WHERE attempts = 0 AND locked_at IS NULL)::int AS waiting, count(*)::int AS there " +
      "FROM graphile_worker.jobs",
  );
  await client.end();
  const [{ waiting, there }] = rows;
  return { waiting, done: jobs - there, other: there - waiting };
}

async function drain() {
  let ran = 0;
  let first = 0;
  let spent = 0;
  const all = Promise.withResolvers();
  const client = await watcher();
  const before = process.cpuUsage();
  const runner = await start(async () => {
    const began = performance.now();
    first ||= began;
    if (values.sleep) {
      await sleep(1000 * number("sleep"));
      spent += performance.now() - began;
    }
    ran += 1;
    if (ran === jobs) all.resolve();
  });
  await all.promise;
  const left = async () => (await client.query("SELECT EXISTS (SELECT FROM graphile_worker.jobs) AS left")).rows[0].left;
  let lookedAt = performance.now(); // of the look that sees the end: one may take long
  while (await left()) {
    await sleep(5);
    lookedAt = performance.now();
  }
  const seconds = (lookedAt - first) / 1000;
  const used = microseconds(before);
  await runner.stop();
  await client.end();
  return { per_second: jobs / seconds, of_slots: spent / 1000 / seconds / slots, client_us: used, ran };
}

// The first batch, which connects and prepares, is not timed unless it is the only one.
async function insert() {
  const utils = await makeWorkerUtils({ ...connection, logger });
  const batch = number("batch", 1);
  let [before, began, timed] = [process.cpuUsage(), performance.now(), jobs];
  for (let next = 0; next < jobs; next += batch) {
    if (next === batch) [before, began, timed] = [process.cpuUsage(), performance.now(), jobs - batch];
    const count = Math.min(batch, jobs - next);
    if (count === 1) await utils.addJob("benchmark", { num: next });
    else {
      const payloads = Array.from({ length: count }, (_, index) => ({ num: next + index }));
      await utils.addJobs(payloads.map((payload) => ({ identifier: "benchmark", payload })));
    }
  }
  const seconds = (performance.now() - began) / 1000;
  const used = microseconds(before, timed);
  await utils.release();
  return { per_second: timed / seconds, client_us: used, ran: jobs };
}

async function latency() {
  const [called, returned, started] = [[], [], []];
  let ran = 0;
  const runner = await start(async ({ num }) => {
    started[num] = performance.now();
    if (values.sleep) await sleep(1000 * number("sleep"));
    ran += 1;
  });
  const utils = await makeWorkerUtils({ ...connection, logger });
  await sleep(1000);
  const began = performance.now();
  for (let num = 0; num < jobs; num += 1) {
    const early = began + (1000 * num) / number("rate", 100) - performance.now();
    if (early > 0) await sleep(early);
    called[num] = performance.now();
    await utils.addJob("benchmark", { num });
    returned[num] = performance.now();
  }
  while (ran < jobs) await sleep(10);
  await runner.stop();
  await utils.release();
  const since = (times) => times.map((time, num) => started[num] - time);
  return { call_ms: since(called), commit_ms: since(returned), ran };
}

async function fill() {
  values.batch = "1000";
  return insert();
}

const figures = await { prepare, check, drain, insert, latency, fill }[positionals[0]]();
// The most memory that this process has had; what getrusage says begins with that of the harness that forked it.
const [, kilobytes] = /VmHWM:\s+(\d+)/.exec(readFileSync("/proc/self/status", "ascii"));
// Only what a pipe has taken is there after the exit.
process.stdout.write(JSON.stringify({ rss_mb: kilobytes / 1024, ...figures }), () => process.exit(0));
