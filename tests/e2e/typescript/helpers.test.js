// The newest helpers of the official TypeScript SDK: they work as they do without us, and cost what the mock bills.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic, { toFile } from "@anthropic-ai/sdk";
import { betaTool } from "@anthropic-ai/sdk/helpers/beta/json-schema";
import { jsonSchemaOutputFormat } from "@anthropic-ai/sdk/helpers/json-schema";
import { house } from "./house.js";

// Picodollars a token of Claude Sonnet 5.5.
const RATES = {
  input: 2_000_000n,
  output: 10_000_000n,
  cache_write_5m: 2_500_000n,
  cache_write_1h: 4_000_000n,
  cache_read: 100_000n,
};

let here;

before(async () => (here = await house({ CHAMBERLAIN_UPSTREAM__BATCH_LOOK: "20ms" })));
after(async () => assert.equal(await here.stop(), 0));

/** A client with a virtual key of its own, and what its calls came to. */
async function caller(name) {
  const client = new Anthropic({ apiKey: here.virtualKey(name), baseURL: here.gateway, maxRetries: 0 });
  const begun = (await journal()).length;
  return { client, entries: async () => (await journal()).slice(begun), isPaidExactly: () => isPaidExactly(name, begun) };
}

async function journal() {
  return (await fetch(`${here.mock}/mock/journal`)).json();
}

async function body(entry) {
  return (await fetch(`${here.mock}/mock/journal/${entry.n}/body`)).json();
}

async function until(what, holds) {
  const deadline = Date.now() + 60_000;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, `${what} never came`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

function pico(decimal) {
  const [whole, part = ""] = decimal.split(".");
  return BigInt(whole) * 10n ** 12n + BigInt(part.padEnd(12, "0"));
}

function cost(bill) {
  const of = (charge) => Object.entries(RATES).reduce((sum, [kind, rate]) => sum + BigInt(charge[kind]) * rate, 0n);
  return bill.charges.reduce((sum, charge) => sum + of(charge), 0n);
}

async function isPaidExactly(name, begun) {
  await until("the end of all calls", () => here.run("status").running.in_flight === 0);
  const entries = (await journal()).slice(begun);
  const once = entries.filter((entry) => entry.billed).map((entry) => cost(entry.billed));
  const halved = entries.flatMap((entry) => entry.batch_billed ?? []).map((bill) => cost(bill) / 2n);
  const truth = [...once, ...halved].reduce((sum, part) => sum + part, 0n);
  const budget = here.run("budget", "list").budgets.find((line) => line.scope.name === name && line.window === "daily");
  assert.deepEqual([pico(budget.settled), budget.unsettled, budget.reserved], [truth, "0.00", "0.00"]);
}

const ask = (text, fields = {}) => ({
  model: "claude-sonnet-5-5",
  max_tokens: 300,
  messages: [{ role: "user", content: text }],
  ...fields,
});

const said = (name) =>
  betaTool({
    name,
    description: `Tells the ${name}.`,
    inputSchema: { type: "object", properties: { place: { type: "string" } } },
    run: () => `No ${name}.`,
  });

const uses = (name, turn = 1) => `[[mock: turn=${turn} tool=${name}]]`;

test("parsing an answer into a type", async () => {
  const { client, isPaidExactly } = await caller("parse");
  const schema = { type: "object", properties: { name: { type: "string" } }, required: ["name"] };
  const format = jsonSchemaOutputFormat(schema);
  const message = await client.messages.parse(ask("Where?", { output_config: { format } }));
  assert.equal(typeof message.parsed_output.name, "string");
  await isPaidExactly();
});

for (const stream of [false, true]) {
  test(`the tool runner goes on with its thread, ${stream ? "streamed" : "whole"}`, async () => {
    const { client, entries, isPaidExactly } = await caller(`runner-${stream}`);
    const prompt = uses("weather") + uses("clock", 2) + "[[mock: turn=3 text=Done]]";
    const more = stream ? { runToolsEagerly: true } : {};
    const runner = client.beta.messages.toolRunner({ ...ask(prompt), tools: [said("weather")], stream, ...more });
    const turns = [];
    for await (const turn of runner) {
      turns.push(stream ? await turn.finalMessage() : turn);
      if (turns.length === 1) runner.addTools(said("clock"));
      if (turns.length === 2) runner.removeTools("weather");
    }
    assert.equal(turns.at(-1).content.at(-1).text, "Done");
    const sent = await Promise.all((await entries()).map(body));
    assert.deepEqual(sent.map((one) => one.thread.type), ["create", "continue", "continue"]);
    assert.equal(sent[1].thread.previous_message_id, turns[0].id);
    await isPaidExactly();
  });
}

test("the tool runner compacts", async () => {
  const { client, isPaidExactly } = await caller("compacts");
  const runner = client.beta.messages.toolRunner({
    ...ask(uses("weather") + "[[mock: turn=2 text=Done]]"),
    tools: [said("weather")],
    betas: ["compact-2026-09-04"],
  });
  const reasons = [];
  for await (const turn of runner) {
    reasons.push(turn.stop_reason);
    if (reasons.length === 1) runner.compactBeforeNextTurn();
  }
  assert.deepEqual(reasons, ["tool_use", "compaction", "end_turn"]);
  await isPaidExactly();
});

test("a thread is its own key's", async () => {
  const [ada, bob] = [await caller("ada"), await caller("bob")];
  const begin = (sdk) => sdk.beta.messages.thread({ model: "claude-sonnet-5-5", max_tokens: 50 });
  const first = await begin(ada.client).send({ role: "user", content: "Hi." });
  const thread = { type: "continue", previous_message_id: first.id };
  const betas = ["message-threads-2026-08-12"];
  await assert.rejects(bob.client.beta.messages.create(ask("More.", { thread, betas })), (error) => {
    assert.ok(error instanceof Anthropic.NotFoundError);
    assert.equal(error.error.error.details.error_code, "thread_not_found");
    return true;
  });
  const more = await ada.client.beta.messages.create(ask("More.", { thread, betas }));
  assert.equal(more.stop_reason, "end_turn");
});

test("a batch from its making to its results", async () => {
  const { client, isPaidExactly } = await caller("batches");
  const { batches } = client.messages;
  const items = [10, 20].map((n) => ({ custom_id: `c${n}`, params: ask(`[[mock: output_tokens=${n}]]`) }));
  const made = await batches.create({ requests: items });
  await until("the end", async () => (await batches.retrieve(made.id)).processing_status === "ended");
  const ended = await batches.retrieve(made.id);
  assert.ok(ended.results_url.startsWith(here.gateway), "the link leads to us");
  const found = {};
  for await (const line of await batches.results(made.id)) found[line.custom_id] = line.result.message.usage.output_tokens;
  assert.deepEqual(found, { c10: 10, c20: 20 });
  await until("the true-up", () => here.run("batches").batches.every((batch) => batch.state === "settled"));
  await isPaidExactly();
  const stranger = (await caller("stranger")).client.messages.batches;
  await assert.rejects(stranger.retrieve(made.id), Anthropic.NotFoundError);
  assert.equal((await batches.delete(made.id)).type, "message_batch_deleted");
});

test("a file from its upload to its end", async () => {
  const { client, entries } = await caller("files");
  const content = Buffer.from(Array.from({ length: 100_000 }, (_, n) => (n * 31) % 256));
  const headers = { "x-mock-scenario": "downloadable" };
  const file = await client.files.upload({ file: await toFile(content, "a.bin", { type: "application/octet-stream" }) }, { headers });
  const listed = [];
  for await (const one of client.files.list()) listed.push(one.id);
  assert.deepEqual(listed, [file.id]);
  const back = Buffer.from(await (await client.files.download(file.id)).arrayBuffer());
  assert.ok(back.equals(content), "byte for byte");
  const stranger = (await caller("other")).client.files;
  await assert.rejects(stranger.download(file.id), Anthropic.NotFoundError);
  assert.equal((await client.files.delete(file.id)).type, "file_deleted");
  assert.ok((await entries()).every((entry) => !entry.billed), "files are free");
});
