//! Finds secrets: Anthropic's credentials in every form in which they leak, Chamberlain's virtual
//! keys, and the tokens of other providers. In memory, and in text that comes in pieces.
//!
//! ```
//! use chamberlain_scan::{Rules, Scanner, StreamScanner};
//!
//! let scanner = Scanner::new(Rules::builtin());
//! # let body = "Zq7-Lm2_Xw9aVb4Kc8TdRf6Yh0Gn1Jp5Ms3Bt_EuIoQlUi2Wk4Dv6Cz8Fx0Hy1Aj3Se5Nr7Pg9-OaXbVcQdTeLfKgkW";
//! let key = format!("sk-ant-api03-{body}AAAA");
//!
//! // All at once.
//! let text = format!("export ANTHROPIC_API_KEY={key}\n");
//! let found = scanner.find(text.as_bytes());
//! assert_eq!(found[0].rule.id, "anthropic-api-key");
//! assert_eq!(found[0].range, 25..133);
//! assert_eq!(found[0].secret.expose(), key.as_bytes());
//! assert_eq!(found[0].masked(), "sk-ant-api03-Zq7...AAAA");
//!
//! // In pieces: nothing of the key is ever among the bytes that may go on.
//! let mut stream = StreamScanner::new(&scanner);
//! let progress = stream.push(&text.as_bytes()[..60]);
//! assert!(progress.found.is_empty() && progress.safe == 25);
//! let progress = stream.push(&text.as_bytes()[60..]);
//! assert_eq!(progress.found[0].range, 25..133);
//! ```
//!
//! How it works: a few words that every secret begins with (*anchors*) are searched for, by vector
//! instructions in memory and by an automaton in streams. Only where one stands, code written for
//! that kind of secret reads on. It refuses what is no secret: bodies that are not random, samples,
//! words. It reads no file and asks nobody; secrets that it found print nothing and are wiped.

mod anthropic;
mod automaton;
mod chars;
mod crc32;
mod custom;
mod found;
mod gates;
mod judge;
mod pack;
mod rule;
mod rules;
mod scanner;
mod secret;
mod shape;
mod stream;
#[cfg(test)]
mod testing;
mod virtual_key;

pub use custom::{CustomError, CustomRule};
pub use found::{Found, Step, Via};
pub use rule::{Confidence, Family, Rule, Severity};
pub use rules::Rules;
pub use scanner::{Options, Scanner};
pub use secret::Secret;
pub use stream::{HELD_MAX, Progress, StreamScanner};
