// The official TypeScript SDK through Chamberlain: everything behaves as it does without it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";
import { house } from "./house.js";

let here;
let client;
let direct;

before(async () => {
  here = await house();
  client = new Anthropic({ apiKey: here.virtualKey("sdk"), baseURL: here.gateway, maxRetries: 0 });
  direct = new Anthropic({ apiKey: "any", baseURL: here.mock, maxRetries: 0 });
});

after(async () => assert.equal(await here.stop(), 0));

const ask = (text, fields = {}) => ({
  model: "claude-sonnet-5-5",
  max_tokens: 200,
  messages: [{ role: "user", content: text }],
  ...fields,
});

const tool = {
  name: "weather",
  description: "Tells the weather.",
  input_schema: { type: "object", properties: { city: { type: "string" } } },
};

test("a plain message", async () => {
  const message = await client.messages.create(ask("[[mock: text=Hello]]"));
  assert.equal(message.content[0].text, "Hello");
  assert.match(message._request_id, /^req_/);
});

test("the streaming helper", async () => {
  const stream = client.messages.stream(ask("[[mock: output_tokens=40]]"));
  let text = "";
  stream.on("text", (piece) => (text += piece));
  const message = await stream.finalMessage();
  assert.equal(message.content[0].text, text);
  assert.equal(message.usage.output_tokens, 40);
});

test("tools, streamed", async () => {
  const message = await client.messages.stream(ask("[[mock: tool]]", { tools: [tool] })).finalMessage();
  assert.equal(message.stop_reason, "tool_use");
});

test("thinking", async () => {
  const message = await client.messages
    .stream(ask("[[mock: thinking=30 text=Yes]]", { thinking: { type: "adaptive" } }))
    .finalMessage();
  assert.equal(message.content[0].type, "thinking");
  assert.ok(message.content[0].signature);
});

test("count_tokens says what the call reports", async () => {
  const { max_tokens, ...body } = ask("How many?");
  const [counted, message] = [
    await client.messages.countTokens(body),
    await client.messages.create({ ...body, max_tokens }),
  ];
  assert.equal(counted.input_tokens, message.usage.input_tokens);
});

test("models", async () => {
  const ids = async (sdk) => {
    const found = [];
    for await (const model of sdk.models.list({ limit: 100 })) found.push(model.id);
    return found;
  };
  assert.deepEqual(await ids(client), await ids(direct));
});

for (const status of [400, 402, 403, 404, 409, 413, 422, 429, 500, 503, 504, 529]) {
  test(`upstream's ${status} raises the same class`, async () => {
    const body = ask(`[[mock: status=${status} should_retry=false]]`);
    const raised = async (sdk) => sdk.messages.create(body).then(() => assert.fail(), (error) => error);
    const [theirs, ours] = [await raised(direct), await raised(client)];
    assert.equal(ours.constructor, theirs.constructor);
    assert.equal(ours.status, status);
    assert.deepEqual(ours.error.error, theirs.error.error);
  });
}

test("a rate limit upstream is waited out", async () => {
  const message = await client.messages.create(ask("[[mock: rate_limited retry_after=1 times=1 id=ts]]"));
  assert.equal(message.stop_reason, "end_turn");
});

test("a broken stream is not taken for a whole one", async () => {
  await assert.rejects(client.messages.stream(ask("[[mock: cut after=3]]")).finalMessage());
});

test("an aborted stream is charged what upstream bills", async () => {
  const stream = await client.messages.create(ask("[[mock: slow_body ms=20 output_tokens=40]]", { stream: true }));
  for await (const event of stream) if (event.type === "content_block_delta") break;
  const deadline = Date.now() + 30_000;
  while (here.run("status").running.in_flight > 0) {
    assert.ok(Date.now() < deadline, "the call is still in flight");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const [call] = here.run("calls", "--limit", "1").calls;
  assert.deepEqual([call.outcome, call.certainty, call.tokens.output], ["client_left", "settled", 40]);
});

test("an unknown key and a spent budget", async () => {
  const stranger = new Anthropic({ apiKey: "nonsense", baseURL: here.gateway });
  await assert.rejects(stranger.messages.create(ask("x")), Anthropic.AuthenticationError);
  const poor = new Anthropic({ apiKey: here.virtualKey("poor", "--daily", "0.000001"), baseURL: here.gateway });
  await assert.rejects(poor.messages.create(ask("x")), (error) => {
    assert.ok(error instanceof Anthropic.RateLimitError);
    assert.equal(error.error.error.type, "billing_error");
    return true;
  });
});
