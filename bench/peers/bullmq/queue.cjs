// BullMQ at its defaults, as its documentation shows it, on ioredis.
// `node queue.cjs enqueue JOBS CONCURRENCY` prints how long it took (s); `node queue.cjs work CONCURRENCY` works.
"use strict";

const fs = require("node:fs");
const { Queue, Worker } = require("bullmq");

const url = new URL(process.env.BENCH_REDIS_URL);
const connection = { host: url.hostname, port: Number(url.port) };
const RESULT = "r".repeat(600);

async function enqueue(jobs, concurrency) {
  const queue = new Queue("bench", { connection });
  const payload = JSON.parse(process.env.BENCH_PAYLOAD);
  await queue.add("noop", payload);

  let left = jobs;
  const produce = async () => {
    while (left-- > 0) await queue.add("noop", payload);
  };
  const started = process.hrtime.bigint();
  await Promise.all(Array.from({ length: concurrency }, produce));
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  await queue.close();
  console.log(JSON.stringify({ seconds }));
}

function work(concurrency) {
  const file = fs.openSync(process.env.BENCH_STARTS, "a");
  // A job's line at its start: seconds since the epoch, and room for an id (`bench/load.py`).
  const noop = async () => {
    const line = Buffer.alloc(38);
    line.writeDoubleLE((performance.timeOrigin + performance.now()) / 1000);
    fs.writeSync(file, line);
    return RESULT;
  };
  const worker = new Worker("bench", noop, { connection, concurrency });
  process.on("SIGTERM", () => worker.close().then(() => process.exit(0)));
}

const [verb, ...numbers] = process.argv.slice(2);
if (verb === "enqueue") enqueue(...numbers.map(Number));
else work(...numbers.map(Number));
