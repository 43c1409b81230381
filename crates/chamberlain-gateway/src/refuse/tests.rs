use super::*;

/// One of each.
fn all() -> Vec<Fault> {
    let environment = || EnvironmentName::new("production");
    let all = vec![
        Fault::BadHead { what: "it has two hosts" },
        Fault::TargetTooLong { limit_bytes: 8_192 },
        Fault::Expectation,
        Fault::BodyTimeout,
        Fault::BodyBroken,
        Fault::NoEnvironment(environment()),
        Fault::NoUpstreamKey(environment()),
        Fault::KeyNotOpen(UpstreamKeyId::new("0123456789abcdef")),
        Fault::KeyRemoved(UpstreamKeyId::new("0123456789abcdef")),
        Fault::NoMock,
        Fault::KeyRejected(environment()),
        Fault::Unreachable,
        Fault::Lost,
        Fault::NoAnswer { waited_ms: 600_000 },
        Fault::Ours,
        Fault::UploadLost,
        Fault::UploadUnreadable,
        Fault::BatchUnbound,
        Fault::BatchUnreadable,
        Fault::BatchLost,
        Fault::Redirected { status: 302 },
        Fault::KeyContained(environment()),
    ];
    for (at, fault) in all.iter().enumerate() {
        assert_eq!(at, place(fault), "{fault:?} is missing, twice, or out of order");
    }
    all
}

/// Fails to compile when a variant is added, so that it is added to [`all`] too.
fn place(fault: &Fault) -> usize {
    match fault {
        Fault::BadHead { .. } => 0,
        Fault::TargetTooLong { .. } => 1,
        Fault::Expectation => 2,
        Fault::BodyTimeout => 3,
        Fault::BodyBroken => 4,
        Fault::NoEnvironment(_) => 5,
        Fault::NoUpstreamKey(_) => 6,
        Fault::KeyNotOpen(_) => 7,
        Fault::KeyRemoved(_) => 8,
        Fault::NoMock => 9,
        Fault::KeyRejected(_) => 10,
        Fault::Unreachable => 11,
        Fault::Lost => 12,
        Fault::NoAnswer { .. } => 13,
        Fault::Ours => 14,
        Fault::UploadLost => 15,
        Fault::UploadUnreadable => 16,
        Fault::BatchUnbound => 17,
        Fault::BatchUnreadable => 18,
        Fault::BatchLost => 19,
        Fault::Redirected { .. } => 20,
        Fault::KeyContained(_) => 21,
    }
}

/// The first four cells of the rows under a heading of the document for operators, in order.
fn documented(heading: &str) -> Vec<String> {
    let text = include_str!("../../../../docs/errors.md");
    let (_, below) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = below.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let mut rows: Vec<String> = rows
        .map(|row| row.split('|').skip(1).take(4).map(str::trim).collect::<Vec<_>>().join(" | "))
        .collect();
    rows.sort();
    rows
}

fn row(code: &str, status: u16, kind: ErrorType, should_retry: bool) -> String {
    let retried = if should_retry { "yes" } else { "no" };
    format!("`{code}` | {status} | `{}` | {retried}", kind.name())
}

#[test]
fn every_fault_is_documented_as_it_is() {
    let answers = all().into_iter().map(|fault| fault.answer());
    let mut rows: Vec<String> =
        answers.map(|a| row(a.code, a.status, a.kind, a.should_retry)).collect();
    rows.sort();
    assert_eq!(documented("Something broke"), rows, "left: docs/errors.md, right: the code");
}

#[test]
fn every_code_of_an_unreadable_body_is_documented_as_it_is() {
    let written = include_str!("../encoding.rs").split("code: \"").skip(1);
    let codes = written.map(|rest| rest.split('"').next().unwrap().to_owned());
    let answer = |code: String| {
        let refusal = Refusal::Encoding { code: code.leak(), message: String::new() };
        let answer = refusal.answer();
        row(answer.code, answer.status, answer.kind, answer.should_retry)
    };
    let mut rows: Vec<String> = codes.map(answer).collect();
    rows.sort();
    assert_eq!(documented("Bodies that cannot be read as sent"), rows);
}
