//! A faithful fake of the Anthropic API, for people's own tests and for ours.
//!
//! It answers `POST /v1/messages` (JSON and server-sent events), `POST /v1/messages/count_tokens`,
//! `GET /v1/models`, `GET /v1/models/{id}`, `/v1/files` and `/v1/messages/batches` as the real API
//! does: the same shapes, headers,
//! event order, validation errors and usage arithmetic, for both API versions and both ways to send
//! a key. It reads no prompt and calls nobody. What it refuses: every other path (404), and to
//! show a credential anywhere, its own journal included.
//!
//! # Tokens
//! Usage is a function of the request, so tests can say what they expect:
//!
//! * text (system, messages, tool results, thinking): `ceil(UTF-8 bytes / 4)`;
//! * each message `+8`, each request `+3`, each tool `ceil(compact JSON bytes / 4) + 20`, any tool
//!   at all `+300`; an image 1,500; a PDF 3,000; a URL or file source 2,000; any other block and an
//!   output schema `ceil(compact JSON bytes / 4)`;
//! * output: text `ceil(UTF-8 bytes / 4)`, a tool call `ceil(compact JSON bytes / 4) + 8`, thinking
//!   as many as were asked for. Output never exceeds `max_tokens`.
//!
//! So a prompt without images and files is always below one token a byte of its body plus 303, and
//! `count_tokens` says exactly what the call will report. `cache_control` works by prefix: written
//! at first sight, read within its five minutes or one hour, with the look-back of 20 blocks and
//! the least cacheable length of the real models.
//!
//! # Scenarios
//! A header `x-mock-scenario: overloaded times=3`, or a directive in the last user message,
//! `[[mock: overloaded times=3]]`, asks for a particular answer. Words are separated by blanks or
//! semicolons; values may be quoted, `text="two words"`. An unknown word is a 400 that names it.
//!
//! | words | effect |
//! |---|---|
//! | `text="…"`, `output_tokens=N` | that text; a text of N tokens (thinking included) |
//! | `thinking=N` | N tokens of thinking, when the request asks for thinking |
//! | `tool`, `tool=NAME[,NAME]`, `tool_input="{…}"` | calls the first or the named client tools |
//! | `model=ID`, `geo=us`, `speed=fast`, `tier=priority` | what the answer says it ran on |
//! | `stop_reason=NAME` | ends with that reason |
//! | `usage input= cache_read= cache_write_5m= cache_write_1h= output= searches=` | exact numbers |
//! | `server_tool [searches=N] [input=N] [cache_write_5m=N]` | a web search; the last delta raises input and cache writes |
//! | `code [files=N]` | code that ran in a container, and made that many files |
//! | `iterations=compaction [input=…]`, `iterations=advisor [advisor=ID] [input=…]` | `usage.iterations` with work outside the totals |
//! | `iterations=fallback_served [to=ID] [after=N]`, `iterations=fallback_declined` | a fallback that served, or declined as well |
//! | `refusal`, `refusal=mid after=N`, `category=NAME` | a refusal before any output (not billed), or after N tokens |
//! | `status=N [type=] [code=] [message=""] [retry_after=S] [retry_after_ms=N] [should_retry=true]`, `html` | an error answer |
//! | `rate_limited`, `ramp`, `tier_cap`, `contract_cap`, `own_limit`, `workspace_limit`, `billing`, `credit`, `ip`, `expired`, `revoked`, `too_large`, `internal`, `unavailable`, `timeout`, `overloaded` | the error answers that have a name |
//! | `error_mid_stream`, `cut`, `truncate`, `stall`, each `=headers`, `=start`, `=stop` or with `after=N` deltas | an `error` event; the connection dropped; a proper end, too early; silence |
//! | `reset`, `hang`, each with `[billed=true]` | the connection reset, or nothing at all, before headers |
//! | `slow_headers ms=N`, `slow_body ms=N`, `split[=N]`, `chunk=N`, `pings`, `gzip`, `lean_delta` | how bytes arrive |
//! | `ratelimit [requests=] [input=] [output=] [reset=S]` | what the rate-limit headers say is left |
//! | `downloadable` | a file that is uploaded may be downloaded, as if a tool had made it |
//! | `fixed_ids` | identifiers made from the request, so two equal requests get equal bytes |
//! | `turn=N` | the directive is about the Nth answer since its message, in a prompt only |
//! | `times=N`, `id=NAME` | errors and broken transports happen N times per `id` (default: per directive), then no more |
//!
//! A directive in a prompt does not disturb `count_tokens` (only its `usage` numbers are heeded);
//! the header works on every `/v1` path.
//!
//! # Journal
//! `GET /mock/journal[?since=N][&format=lines]`, `GET /mock/journal/{n}`,
//! `GET /mock/journal/{n}/body`, `DELETE /mock/journal`, and `DELETE /mock/state` (which forgets
//! caches, scenario counts, files, containers and batches); [`Mock::journal`] in-process. See [`Entry`].
//! `POST /mock/clock?advance_s=N` lets time run ahead for batches, and
//! `POST /mock/fail?path=/v1/…[&method=GET][&times=N][&status=N]` makes the next N requests fail,
//! and `POST /mock/delay?path=/v1/…[&ms=N]` late.
//!
//! # Admin API
//! `/v1/organizations/api_keys`, `/workspaces` and `/me` answer to admin keys. Keys are made and
//! switched off at `/mock/keys`, as a person does in the Console; one that was made there is
//! refused with 401 once it is off or its time is over.

mod admin;
mod answer;
mod batches;
mod cache;
mod catalogue;
mod compose;
mod config;
mod containers;
mod control;
mod credential;
mod delivery;
mod error;
mod events;
mod failure;
mod files;
mod ids;
mod intake;
mod journal;
mod json;
mod messages;
mod mock;
mod multipart;
mod prompt;
mod query;
mod reply;
mod request;
mod scenario;
mod schema;
mod service;
mod socket;
mod threads;
mod validate;
mod writer;

pub use config::{Abandoned, AcceptedKeys, Journaling, MockConfig, RateLimits};
pub use journal::{Bill, Charge, Credential, Entry, Journal, Outcome};
pub use mock::{Mock, RunningMock};
pub use reply::Counts;
