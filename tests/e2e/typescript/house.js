// A Chamberlain and a fake Anthropic, started as real processes.
import { spawn, execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const binary = process.env.CHAMBERLAIN_BIN;

function cleanEnvironment(extra = {}) {
  const kept = Object.entries(process.env).filter(([name]) => !/^(CHAMBERLAIN|ANTHROPIC)_/.test(name));
  return { ...Object.fromEntries(kept), ...extra };
}

async function start(args, environment) {
  const child = spawn(binary, args, {
    env: cleanEnvironment(environment),
    stdio: ["ignore", "pipe", "ignore"],
  });
  let text = "";
  for await (const line of createInterface({ input: child.stdout })) {
    text += line + "\n";
    try {
      return { child, ready: JSON.parse(text) };
    } catch {
      // More lines to come.
    }
  }
  throw new Error(`${args.join(" ")} ended before it was ready: ${text}`);
}

/** Starts both; `stop()` ends them and resolves to Chamberlain's exit code. `settings` are Chamberlain's variables. */
export async function house(settings = {}) {
  const folder = mkdtempSync(join(tmpdir(), "chamberlain-e2e-"));
  const mock = await start(["mock", "--listen", "127.0.0.1:0", "--json", "--keep-bodies"]);
  const data = join(folder, "data");
  const args = ["up", "--data", data, "--json", "--upstream", mock.ready.url];
  const up = await start([...args, "--listen", "127.0.0.1:0", "--console", "127.0.0.1:0"], {
    ANTHROPIC_API_KEY: "sk-ant-api03-" + randomBytes(47).toString("hex").slice(0, 93) + "AA",
    ...settings,
  });
  const run = (...words) =>
    JSON.parse(
      execFileSync(binary, [...words, "--json"], {
        env: cleanEnvironment({ CHAMBERLAIN_DATA: data }),
      }),
    );
  const virtualKey = (name, ...flags) =>
    run("virtual", "create", "--name", name, "--environment", "production", "--rpm", "1000000", ...flags).key;
  const stop = () =>
    new Promise((resolve) => {
      up.child.once("exit", (code) => {
        mock.child.kill();
        resolve(code);
      });
      up.child.kill("SIGTERM");
    });
  return { gateway: up.ready.gateway, mock: mock.ready.url, run, virtualKey, stop };
}
