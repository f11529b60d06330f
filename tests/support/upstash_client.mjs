// Drives the stand-in with the official npm client; prints what it was answered as one JSON line.
import { Redis } from "@upstash/redis";

const [url, token] = process.argv.slice(2);
const redis = new Redis({ url, token, enableTelemetry: false, retry: false });
const answers = {};
answers.set = await redis.set("npm", { text: "Grüße 😀" }, { ex: 60 });
[answers.get, answers.none] = await Promise.all([redis.get("npm"), redis.get("npm:none")]);
answers.multi = await redis.multi().incr("npm:n").incr("npm:n").exec();
answers.eval = await redis.eval("return {KEYS[1], ARGV[1], 7}", ["k"], ["a"]);
answers.id = await redis.xadd("npm:s", "*", { job: "1" });
answers.range = Object.values(await redis.xrange("npm:s", "-", "+"));
try {
  await redis.evalsha("0".repeat(40), [], []);
} catch (error) {
  answers.noscript = error.message.includes("NOSCRIPT");
}
try {
  await new Redis({ url, token: "wrong", retry: false }).get("npm");
} catch (error) {
  answers.refused = error.message;
}
console.log(JSON.stringify(answers));
