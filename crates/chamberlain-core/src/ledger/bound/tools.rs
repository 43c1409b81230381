//! What server tools do to a bound, and which of them have none.

use super::{NoBound, unbounded};
use crate::anthropic::request::{Capability, RequestFacts, ServerTool, ServerToolKind, Thread};
use crate::ledger::price::{PriceBook, Unpriced};
use crate::money::Money;

/// Samplings a request with server tools makes at the most before it pauses its turn.
const SERVER_TOOL_SAMPLINGS: u64 = 10;

/// Web tools dated from here on make code execution free.
const CODE_IS_FREE_WITH_WEB_TOOLS_FROM: u32 = 20_260_209;

/// Samplings of one attempt. Whether an advisor's uses count among the ten is not said.
pub(super) fn samplings(facts: &RequestFacts) -> Result<u64, NoBound> {
    if facts.server_tools.is_empty() && !facts.mcp {
        return Ok(1);
    }
    let advisors = facts.server_tools.iter().filter(|tool| tool.kind == ServerToolKind::Advisor);
    advisors.map(advisor_uses).try_fold(SERVER_TOOL_SAMPLINGS, |count, uses| {
        // Far beyond any price, and far from the end of the range.
        Ok(count.saturating_add(uses?).min(u64::from(u32::MAX)))
    })
}

pub(super) fn advisor_uses(tool: &ServerTool) -> Result<u64, NoBound> {
    let reason = "an advisor without max_uses may be asked any number of times; set it";
    tool.max_uses.ok_or_else(|| unbounded("tools[].max_uses", reason))
}

/// A loop of server tools samples ten times at the most in a message, and "more" in a batch: how
/// many times more is not said, so there is no bound.
pub(super) fn check_batch(facts: &RequestFacts) -> Result<(), NoBound> {
    let field = match facts.server_tools.first() {
        Some(tool) => format!("tools[].type {}", tool.type_name),
        None if facts.mcp => "mcp_servers".to_owned(),
        None => return Ok(()),
    };
    let reason = "how often a model goes on sampling with server tools is not limited in a batch; \
                  send such requests one by one to /v1/messages, where it is";
    Err(unbounded(&field, reason))
}

/// Container hours are billed by the clock and appear in no answer, so they can be neither
/// bounded nor settled.
pub(super) fn check_code_execution(facts: &RequestFacts) -> Result<(), NoBound> {
    let uses_container = facts
        .capabilities
        .iter()
        .any(|used| matches!(used, Capability::CodeExecution | Capability::Containers))
        || facts.server_tools.iter().any(|tool| tool.kind == ServerToolKind::CodeExecution);
    if uses_container && !facts.server_tools.iter().any(makes_code_execution_free) {
        let reason = "container hours are billed apart and no answer says how many; declare \
                      web_search_20260209 or web_fetch_20260209 (or later) too, which makes them \
                      free, or leave code execution, skills and containers out";
        return Err(unbounded("tools[].type code_execution", reason));
    }
    Ok(())
}

fn makes_code_execution_free(tool: &ServerTool) -> bool {
    let is_web = matches!(tool.kind, ServerToolKind::WebSearch | ServerToolKind::WebFetch);
    let date = tool.type_name.rsplit('_').next().and_then(|date| date.parse::<u32>().ok());
    is_web && date.is_some_and(|date| date >= CODE_IS_FREE_WITH_WEB_TOOLS_FROM)
}

pub(super) fn check_unknown_tools(facts: &RequestFacts) -> Result<(), NoBound> {
    let unknown = facts.server_tools.iter().find(|tool| tool.kind == ServerToolKind::Unknown);
    let name = match unknown {
        Some(tool) => tool.type_name.as_str(),
        None if facts.capabilities.contains(&Capability::UnknownServerTool) => "of some tool",
        None => return Ok(()),
    };
    let reason = "what it costs is not known to this version; leave the tool out, or update";
    Err(unbounded(&format!("tools[].type {name}"), reason))
}

/// A thread remembers what its messages declare, and a request that continues it does not show it.
pub(super) fn check_threads(facts: &RequestFacts) -> Result<(), NoBound> {
    if facts.thread == Thread::None || !facts.inline_server_tool {
        return Ok(());
    }
    let reason = "the thread would remember this server tool, and no request that continues the \
                  thread would show it; declare it under tools, or leave thread out";
    Err(unbounded("messages[].content[].tool.definition", reason))
}

/// What all web searches of a call may cost.
pub(super) fn web_search_fees(
    facts: &RequestFacts,
    attempts: u64,
    prices: &PriceBook,
) -> Result<Money, NoBound> {
    let searching = facts.server_tools.iter().filter(|tool| tool.kind == ServerToolKind::WebSearch);
    let mut cost = Money::ZERO;
    for tool in searching {
        let uses = tool.max_uses.ok_or_else(|| {
            let each = prices.web_search();
            let reason = format!(
                "each web search costs {each} and the request does not say how many there \
                 may be; set max_uses on the web_search tool"
            );
            unbounded("tools[].max_uses", reason)
        })?;
        let uses = uses.checked_mul(attempts).ok_or(Unpriced::Overflow)?;
        let fee = prices.web_search().checked_mul(uses);
        cost = fee.and_then(|fee| cost.checked_add(fee)).ok_or(Unpriced::Overflow)?;
    }
    Ok(cost)
}
