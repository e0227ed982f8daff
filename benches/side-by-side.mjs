// CPU per request and per Socket.IO round trip: Portcullis, fully on, beside nginx without any
// authentication, interleaved in one run. `make bench` calls it; docs/performance.md says what it means.
//
// All load goes to 127.0.0.1, is bounded in time, and every process started here is ended here.
import { spawn, execFileSync } from "node:child_process";
import { createHmac, randomBytes } from "node:crypto";
import { mkdtempSync, writeFileSync, readFileSync, readdirSync, mkdirSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import https from "node:https";
import net from "node:net";
import os from "node:os";
import path from "node:path";

const require = createRequire(new URL("../tests/live/package.json", import.meta.url));
const { WebSocket, WebSocketServer } = require("ws");

const portcullis = process.env.PORTCULLIS_BIN ?? "target/release/portcullis";
const rounds = Number(process.env.BENCH_ROUNDS ?? 5);
const seconds = Number(process.env.BENCH_SECONDS ?? 4);
const host = "bench.example.test";
const dir = mkdtempSync(path.join(os.tmpdir(), "portcullis-bench-"));
const children = [];
const tick = Number(execFileSync("getconf", ["CLK_TCK"]).toString());

function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], ...options });
  child.errors = "";
  child.stderr.on("data", (data) => { child.errors = (child.errors + data).slice(-4000); });
  children.push(child);
  return child;
}

async function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function answers(port, child) {
  for (let n = 0; n < 200; n++) {
    const open = await new Promise((resolve) => {
      const socket = net.connect(port, "127.0.0.1", () => { socket.destroy(); resolve(true); });
      socket.on("error", () => resolve(false));
    });
    if (open) return;
    if (child?.exitCode != null) break;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`nothing answers on ${port}: ${child?.errors ?? ""}`);
}

/** CPU seconds that a process and its children have used. */
function cpu(pid) {
  const own = (id) => {
    const fields = readFileSync(`/proc/${id}/stat`, "utf8").split(") ")[1].split(" ");
    return (Number(fields[11]) + Number(fields[12])) / tick;
  };
  let sum = own(pid);
  for (const id of readdirSync("/proc").filter((it) => /^\d+$/.test(it))) {
    try {
      const parent = Number(readFileSync(`/proc/${id}/stat`, "utf8").split(") ")[1].split(" ")[1]);
      if (parent === pid) sum += own(id);
    } catch { /* it has ended since */ }
  }
  return sum;
}

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

// --- the work behind the proxies -----------------------------------------------------------
const backendPort = await freePort();
const wsPort = await freePort();
writeFileSync(path.join(dir, "kib"), "x".repeat(1024));
const nginxCommon = `
user root; error_log ${dir}/error.log; pid ${dir}/NAME.pid; daemon off; worker_rlimit_nofile 8192;
events { worker_connections 4096; }`;
writeFileSync(path.join(dir, "backend.conf"), `worker_processes 1;${nginxCommon.replace("NAME", "backend")}
http { access_log off; keepalive_requests 1000000000; server { listen 127.0.0.1:${backendPort}; root ${dir}; } }`);
const backend = start("nginx", ["-c", path.join(dir, "backend.conf"), "-p", dir]);
await answers(backendPort, backend);

// A tenant that speaks just enough Engine.IO: open packet, CONNECT, echo. Its cost is nobody's.
const echo = createServer().listen(wsPort, "127.0.0.1");
new WebSocketServer({ server: echo, perMessageDeflate: false }).on("connection", (socket) => {
  const id = randomBytes(15).toString("base64url");
  socket.send(`0{"sid":"${id}","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}`);
  socket.on("message", (data) => {
    const text = data.toString();
    if (text.startsWith("40")) socket.send(`40{"sid":"${id.slice(0, 18)}aa"}`);
    else if (text.startsWith("42")) socket.send(text);
  });
});

// --- the peers -----------------------------------------------------------------------------
const certs = path.join(dir, "certs");
mkdirSync(certs);
execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
  "-subj", "/CN=example.test", "-addext", `subjectAltName=DNS:*.example.test`,
  "-keyout", path.join(certs, "default.key"), "-out", path.join(certs, "default.crt")], { stdio: "ignore" });

const nginxPort = await freePort();
writeFileSync(path.join(dir, "proxy.conf"), `worker_processes 2;${nginxCommon.replace("NAME", "proxy")}
http {
  access_log off; keepalive_requests 1000000000;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream work { server 127.0.0.1:${backendPort}; keepalive 128; }
  upstream sockets { server 127.0.0.1:${wsPort}; }
  server {
    listen 127.0.0.1:${nginxPort} ssl http2 reuseport; server_name ${host};
    ssl_certificate ${certs}/default.crt; ssl_certificate_key ${certs}/default.key;
    ssl_protocols TLSv1.2 TLSv1.3; proxy_http_version 1.1;
    location / { proxy_pass http://work; proxy_set_header Connection $connection_upgrade; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Host $host; proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; }
    location /socket.io/ { proxy_pass http://sockets; proxy_set_header Connection upgrade; proxy_set_header Upgrade $http_upgrade; proxy_read_timeout 600s; }
  }
}`);
const nginx = start("nginx", ["-c", path.join(dir, "proxy.conf"), "-p", dir]);
await answers(nginxPort, nginx);

const ourPort = await freePort();
// A folder of its own: the gateway watches where its configuration lies, and nginx reads files all the time.
mkdirSync(path.join(dir, "gate"));
const config = path.join(dir, "gate", "portcullis.toml");
writeFileSync(config, `root_domain = "example.test"
[listen]
https = ["127.0.0.1:${ourPort}"]
http = []
admin = "127.0.0.1:${await freePort()}"
workers = 2
[certificates]
dir = "${certs}"
[docker]
hosts = []
[store]
url = "sqlite:${dir}/gate/portcullis.db"
key_file = "${dir}/gate/portcullis.key"
[log]
level = "warn"
access = false
[[tenant]]
hosts = ["${host}"]
upstreams = ["http://127.0.0.1:${backendPort}"]
login_api = true
[[tenant]]
hosts = ["sockets.example.test"]
upstreams = ["http://127.0.0.1:${wsPort}"]
login_api = true
`);
const password = randomBytes(12).toString("base64url");
execFileSync(portcullis, ["--config", config, "user", "add", "bench", "--password-stdin"], { input: password });
const uri = execFileSync(portcullis, ["--config", config, "user", "enrol-totp", "bench"]).toString();
const secret = /secret=([A-Z2-7]+)/.exec(uri)[1];
const ours = start(portcullis, ["--config", config, "run"]);
await answers(ourPort, ours);

function totp(base32, now = Date.now()) {
  let bits = "";
  for (const c of base32) bits += "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0");
  const key = Buffer.from(bits.match(/.{8}/g).map((it) => parseInt(it, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(now / 30000)));
  const mac = createHmac("sha1", key).update(counter).digest();
  const at = mac[19] & 15;
  return String((mac.readUInt32BE(at) & 0x7fffffff) % 1e6).padStart(6, "0");
}

function post(name, where, body) {
  return new Promise((resolve, reject) => {
    const text = JSON.stringify(body);
    const request = https.request({
      host: "127.0.0.1", port: ourPort, servername: name, path: where, method: "POST", rejectUnauthorized: false,
      headers: { host: `${name}:${ourPort}`, origin: `https://${name}:${ourPort}`, "sec-fetch-site": "same-origin",
        "content-type": "application/json", "content-length": Buffer.byteLength(text) },
    }, (response) => {
      let answer = "";
      response.on("data", (data) => { answer += data; });
      response.on("end", () => resolve({ status: response.statusCode, headers: response.headers, body: JSON.parse(answer) }));
    });
    request.on("error", reject);
    request.end(text);
  });
}

/** Signs in through a tenant's own login API; waits for a code that was not used before. */
let lastStep = 0;
async function signIn(name) {
  const first = await post(name, "/.portcullis/api/v1/login", { username: "bench", password });
  while (Math.floor(Date.now() / 30000) === lastStep) await new Promise((resolve) => setTimeout(resolve, 500));
  lastStep = Math.floor(Date.now() / 30000);
  const second = await post(name, "/.portcullis/api/v1/login/totp", { ticket: first.body.ticket, code: totp(secret) });
  if (second.status !== 200) throw new Error(`login: ${second.status} ${JSON.stringify(second.body)}`);
  return [second.headers["set-cookie"]].flat().find((it) => it.startsWith("__Host-portcullis=")).split(";")[0];
}
const cookie = await signIn(host);
const socketCookie = await signIn("sockets.example.test");

// --- the load ------------------------------------------------------------------------------
async function run(command, args) {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  let out = "";
  child.stdout.on("data", (data) => { out += data; });
  await new Promise((resolve) => child.on("close", resolve));
  return out;
}

async function http1(port) {
  const out = await run("wrk", ["-t1", "-c64", `-d${seconds}s`, "--latency", "-H", `Host: ${host}:${port}`, "-H", `Cookie: ${cookie}`,
    `https://127.0.0.1:${port}/kib`]);
  const bad = /Non-2xx or 3xx responses: (\d+)/.exec(out);
  if (bad) throw new Error(`${bad[1]} requests failed on ${port}: ${execFileSync("curl", ["-sk", "--http1.1", "-i", "-H", `Host: ${host}:${port}`, "-H", `Cookie: ${cookie}`, `https://127.0.0.1:${port}/kib`]).toString().slice(0, 600)}`);
  return Number(/(\d+) requests in/.exec(out)[1]);
}

async function http2(port) {
  const out = await run("h2load", ["-t1", "-c64", "-m4", `-D${seconds}`, "-H", `Cookie: ${cookie}`, "-H", `:authority: ${host}:${port}`,
    `https://127.0.0.1:${port}/kib`]);
  const counts = /requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded/.exec(out);
  if (counts[1] !== counts[2]) throw new Error(`h2load: ${counts[0]}`);
  return Number(counts[2]);
}

function socketRounds(inFlight) {
  return async (port, name) => {
    let count = 0;
    const payload = `42["say",{"n":1,"text":"${"x".repeat(40)}"}]`;
    const sockets = await Promise.all(Array.from({ length: 32 }, () => new Promise((resolve, reject) => {
      const socket = new WebSocket(`wss://127.0.0.1:${port}/socket.io/?EIO=4&transport=websocket`, {
        rejectUnauthorized: false, servername: name, perMessageDeflate: false,
        headers: { host: `${name}:${port}`, origin: `https://${name}:${port}`, cookie: socketCookie },
      });
      socket.on("error", reject);
      socket.on("message", (data) => {
        const text = data.toString();
        if (text[0] === "0") socket.send("40");
        else if (text.startsWith("40")) resolve(socket);
        else if (text.startsWith("42")) { count += 1; if (!socket.over) socket.send(payload); }
      });
    })));
    for (const socket of sockets) for (let n = 0; n < inFlight; n++) socket.send(payload);
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    for (const socket of sockets) { socket.over = true; socket.close(); }
    await new Promise((resolve) => setTimeout(resolve, 100));
    return count;
  };
}

const works = [
  ["HTTPS/1.1 keep-alive, 1 KiB, 64 connections", http1, host],
  ["HTTP/2, 64 connections x 4 streams", http2, host],
  ["Socket.IO round trip, 32 sockets, 1 in flight", socketRounds(1), "sockets.example.test"],
  ["Socket.IO round trip, 32 sockets, 16 in flight", socketRounds(16), "sockets.example.test"],
];
const peers = [["nginx, no auth", nginx.pid, nginxPort], ["portcullis, all on", ours.pid, ourPort]];
try {
  console.log(`# ${os.cpus()[0].model}, ${os.cpus().length} cores; ${rounds} interleaved rounds of ${seconds} s; medians`);
  console.log(`# ${execFileSync("nginx", ["-v"], { stdio: ["ignore", "pipe", "pipe"] }).toString()}${execFileSync("sh", ["-c", "nginx -v 2>&1"]).toString().trim()}; ${execFileSync(portcullis, ["--version"]).toString().trim()}`);
  console.log("| work | nginx, us CPU | portcullis, us CPU | ratio | nginx /s | portcullis /s |\n|---|---|---|---|---|---|");
  for (const [what, load, name] of works) {
    const costs = [[], []];
    const rates = [[], []];
    for (let round = 0; round < rounds; round++) {
      for (const [index, [, pid, port]] of peers.entries()) {
        const before = cpu(pid);
        const done = await load(port, name);
        costs[index].push(((cpu(pid) - before) / done) * 1e6);
        rates[index].push(done / seconds);
      }
    }
    const [theirs, our] = costs.map(median);
    const ratios = costs[1].map((it, n) => it / costs[0][n]);
    console.log(`| ${what} | ${theirs.toFixed(1)} | ${our.toFixed(1)} | ${median(ratios).toFixed(2)} | ${rates.map((it) => median(it).toFixed(0)).join(" | ")} |`);
  }
  const memory = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1024;
  console.log(`\nportcullis, resident after all that: ${memory(ours.pid).toFixed(1)} MiB`);
} finally {
  for (const child of children) if (child.exitCode == null) child.kill("SIGTERM");
  setTimeout(() => { rmSync(dir, { recursive: true, force: true }); process.exit(); }, 500);
}
