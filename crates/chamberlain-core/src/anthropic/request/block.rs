//! Content blocks: what one of them brings into the prompt.
//!
//! Keys come in any order (`source` may stand before `type`), so a block is collected while it
//! passes and judged when it ends.

/// What a block's `type` says.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// No type, or one this version does not know.
    #[default]
    Unknown,
    /// Only its own text reaches the prompt.
    Text,
    /// Calls of tools, their results, and changes of the tool set.
    ToolTraffic,
    /// The result of a server tool, sent back. What is inside is Anthropic's own and has kinds
    /// that occur nowhere else.
    ServerResult,
    /// An image.
    Image,
    /// A document.
    Document,
    /// A file put into a container.
    ContainerUpload,
}

impl Kind {
    pub(super) fn of(name: &str) -> Kind {
        match name {
            "text" | "thinking" | "redacted_thinking" | "connector_text" | "search_result"
            | "compaction" | "fallback" => Kind::Text,
            "tool_use" | "tool_result" | "server_tool_use" | "mcp_tool_use" | "mcp_tool_result"
            | "mcp_tool_listing" | "tool_reference" | "tool_addition" | "tool_removal"
            | "browser_state" => Kind::ToolTraffic,
            "web_search_tool_result"
            | "web_fetch_tool_result"
            | "tool_search_tool_result"
            | "code_execution_tool_result"
            | "bash_code_execution_tool_result"
            | "text_editor_code_execution_tool_result"
            | "advisor_tool_result" => Kind::ServerResult,
            "image" => Kind::Image,
            "document" => Kind::Document,
            "container_upload" => Kind::ContainerUpload,
            _ => Kind::Unknown,
        }
    }
}

/// What `source.type` says.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) enum SourceKind {
    /// Missing, or one this version does not know.
    #[default]
    Unknown,
    /// `base64`
    Base64,
    /// `text`
    Text,
    /// `content`: more blocks.
    Content,
    /// `url` or `file`.
    Elsewhere,
}

impl SourceKind {
    pub(super) fn of(name: &str) -> SourceKind {
        match name {
            "base64" => SourceKind::Base64,
            "text" => SourceKind::Text,
            "content" => SourceKind::Content,
            "url" | "file" => SourceKind::Elsewhere,
            _ => SourceKind::Unknown,
        }
    }
}

/// A block (or another object inside one) while it passes.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Block {
    /// True for an object that is not itself content, such as a citation setting: its type says
    /// nothing about the prompt unless it is an image or a document.
    pub(super) attribute: bool,
    /// True when it, or something around it, is such an object: then it may reach the prompt as
    /// written, and nothing is taken off.
    pub(super) aside: bool,
    /// Its `type`.
    pub(super) kind: Kind,
    /// Its `source.type`.
    pub(super) source: SourceKind,
    /// UTF-8 bytes of its `source.data`.
    pub(super) data_bytes: u64,
    /// `citations.enabled`
    pub(super) cited: bool,
    /// A block inside it is of a kind this version does not know.
    pub(super) holds_unknown: bool,
    /// Files that were only mentioned when it began.
    pub(super) mentions_before: usize,
}

/// What a block means for the prompt.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    /// It is an image.
    pub(super) image: bool,
    /// It is a document.
    pub(super) document: bool,
    /// It puts a file into a container.
    pub(super) upload: bool,
    /// Bytes of the body that are not text of the prompt.
    pub(super) payload_bytes: u64,
    /// Text of the prompt that the API adds and the body does not show, in bytes.
    pub(super) added_bytes: u64,
    /// Something is read that the body does not show.
    pub(super) elsewhere: bool,
    /// … by URL or file id.
    pub(super) external: bool,
    /// It belongs to the use of tools.
    pub(super) tools: bool,
    /// It is, or holds, content of an unknown kind.
    pub(super) unknown: bool,
}

/// The API cuts a cited text into sentences and numbers them. A sentence may be as short as two
/// bytes; this allows ten more tokens for each three bytes.
const CITED_TEXT_ADDS: u64 = 3;

impl Block {
    /// What it means, when it has ended.
    pub(super) fn judge(self) -> Verdict {
        let mut verdict = Verdict { unknown: self.holds_unknown, ..Verdict::default() };
        match self.kind {
            Kind::Text => {}
            Kind::ToolTraffic => verdict.tools = true,
            Kind::ServerResult => {
                verdict.tools = true;
                verdict.unknown = false;
            }
            Kind::Unknown => verdict.unknown |= !self.attribute,
            Kind::ContainerUpload => {
                verdict.upload = true;
                verdict.elsewhere = true;
                verdict.external = true;
            }
            Kind::Image => {
                verdict.image = true;
                self.judge_source(&mut verdict);
            }
            Kind::Document => {
                verdict.document = true;
                self.judge_source(&mut verdict);
            }
        }
        verdict
    }

    fn judge_source(self, verdict: &mut Verdict) {
        match (self.kind, self.source) {
            (_, SourceKind::Base64) => {
                verdict.payload_bytes = if self.aside { 0 } else { self.data_bytes };
                // A PDF is compressed: it may hold more text than it has bytes.
                verdict.elsewhere = self.kind == Kind::Document;
            }
            (Kind::Document, SourceKind::Text) => {
                if self.cited {
                    verdict.added_bytes = self.data_bytes.saturating_mul(CITED_TEXT_ADDS);
                }
            }
            (Kind::Document, SourceKind::Content) => {}
            _ => {
                verdict.elsewhere = true;
                verdict.external = true;
            }
        }
    }
}
