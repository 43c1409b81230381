use std::os::unix::fs::FileTypeExt;
use std::sync::Mutex;

use serde_json::{Value, json};

use super::*;
use crate::client::Client;
use crate::command::{KeyAdd, Status, VirtualFreeze};
use crate::door::Door;
use crate::wire::SecretText;

/// Answers with who asked for what, and refuses to freeze.
#[derive(Default)]
struct Echo {
    seen: Mutex<Vec<String>>,
}

impl Execute for Echo {
    fn execute(&self, actor: &Principal, command: Command) -> Result<Value, CommandError> {
        self.seen.lock().unwrap().push(command.name().to_owned());
        match command {
            Command::KeyAdd(add) => Ok(json!({ "length": add.secret.secret().expose().len() })),
            Command::VirtualFreeze(freeze) => {
                Err(CommandError::not_found(format!("no {}", freeze.key)).hint("list them"))
            }
            Command::Doctor(_) => panic!("a broken command"),
            command => Ok(json!({ "actor": actor.to_string(), "command": command.name() })),
        }
    }
}

struct Server {
    data: tempfile::TempDir,
    echo: Arc<Echo>,
    stop: CancellationToken,
    served: tokio::task::JoinHandle<io::Result<()>>,
}

impl Server {
    fn start() -> Server {
        let data = tempfile::tempdir().unwrap();
        let (echo, stop) = (Arc::new(Echo::default()), CancellationToken::new());
        let socket = Socket::bind(data.path()).unwrap();
        let name_of = |_| Some("tester".to_owned());
        let served = tokio::spawn(socket.serve(echo.clone(), name_of, stop.clone()));
        Server { data, echo, stop, served }
    }

    /// Asks from a thread of its own, as the command line does.
    async fn ask(&self, command: impl Into<Command>) -> Result<Value, CommandError> {
        let (data, command) = (self.data.path().to_owned(), command.into());
        tokio::task::spawn_blocking(move || Client::connect(&data)?.unwrap().execute(command))
            .await
            .unwrap()
    }

    /// Sends raw bytes and gives the status line and the body.
    async fn raw(&self, request: String) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let path = self.data.path().join(FILE_NAME);
        let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    async fn post(&self, body: &str) -> String {
        let length = body.len();
        self.raw(format!(
            "POST /command HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        ))
        .await
    }
}

fn my_uid(server: &Server) -> u32 {
    fs::metadata(server.data.path()).unwrap().uid()
}

#[tokio::test]
async fn the_actor_is_the_peer() {
    let server = Server::start();
    let reply = server.ask(Status {}).await.unwrap();
    let actor = format!("person:uid:{}(tester)", my_uid(&server));
    assert_eq!(reply, json!({ "actor": actor, "command": "status" }));
}

#[tokio::test]
async fn only_the_owner_gets_at_the_socket() {
    let server = Server::start();
    let metadata = fs::metadata(server.data.path().join(FILE_NAME)).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(server.data.path()).unwrap().count(), 1, "something else was left");
    let desk = Desk { executor: server.echo.clone(), owner: 1_000, name_of: |_| None };
    assert_eq!(desk.actor(Peer(Some(1_001))).unwrap_err().code, ErrorCode::Forbidden);
    assert_eq!(desk.actor(Peer(None)).unwrap_err().code, ErrorCode::Forbidden);
    let root = desk.actor(Peer(Some(0))).unwrap();
    assert_eq!(root, Principal::Person("uid:0(?)".to_owned()));
}

#[tokio::test]
async fn a_secret_goes_in_and_is_never_quoted() {
    let server = Server::start();
    let planted = format!("sk-ant-{}-{}", "api03", "Q".repeat(60));
    let add = |secret: String| KeyAdd {
        name: "main".to_owned(),
        environment: None,
        secret: SecretText::new(secret::Secret::new(secret)),
        about: crate::command::KeyAbout::default(),
        staged: false,
    };
    let reply = server.ask(add(planted.clone())).await.unwrap();
    assert_eq!(reply, json!({ "length": planted.len() }));
    // In the wrong place, where the parser's message would quote it.
    for body in [
        format!(r#"{{"command":"{planted}"}}"#),
        format!(r#"{{"command":"key.add","name":"m","{planted}":1}}"#),
    ] {
        let answer = server.post(&body).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(!answer.contains(&planted), "{answer}");
    }
}

#[tokio::test]
async fn an_error_arrives_as_it_left() {
    let server = Server::start();
    let freeze = VirtualFreeze { key: "ci".to_owned(), reason: "leaked".to_owned() };
    let error = server.ask(freeze).await.unwrap_err();
    assert_eq!(error, CommandError::not_found("no ci").hint("list them"));
    let error = server.ask(crate::command::Doctor {}).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Failed);
    server.ask(Status {}).await.unwrap();
}

#[tokio::test]
async fn what_is_not_a_command_is_refused() {
    let server = Server::start();
    for body in
        ["", "{}", "[]", "null", "\u{0}", r#"{"command":"drop"}"#, "{\"command\":\"status\""]
    {
        let answer = server.post(body).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{body}: {answer}");
        assert!(answer.contains(r#""code":"usage""#), "{body}: {answer}");
    }
    let long = format!(r#"{{"command":"{}"}}"#, "x".repeat(COMMAND_BYTES_MAX));
    assert!(server.post(&long).await.starts_with("HTTP/1.1 400 "));
    for line in ["GET /command", "POST /", "PUT /command", "POST /command/"] {
        let request = format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = server.raw(request).await;
        assert!(answer.starts_with("HTTP/1.1 40"), "{line}: {answer}");
    }
    assert!(server.echo.seen.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_ask_at_once() {
    let server = Server::start();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let data = server.data.path().to_owned();
        asking.spawn_blocking(move || {
            Client::connect(&data)?.expect("a server").execute(Status {}.into())
        });
    }
    assert!(asking.join_all().await.iter().all(Result::is_ok));
    assert_eq!(server.echo.seen.lock().unwrap().len(), 50);
}

#[tokio::test]
async fn it_goes_when_the_server_stops_and_comes_back_after_a_kill() {
    let server = Server::start();
    server.ask(Status {}).await.unwrap();
    server.stop.cancel();
    server.served.await.unwrap().unwrap();
    assert!(Client::connect(server.data.path()).unwrap().is_none());
    assert_eq!(fs::read_dir(server.data.path()).unwrap().count(), 0);

    // A killed server leaves its socket behind, with nobody at it.
    drop(Socket::bind(server.data.path()).unwrap());
    assert!(server.data.path().join(FILE_NAME).exists());
    assert!(Client::connect(server.data.path()).unwrap().is_none());
    drop(Socket::bind(server.data.path()).unwrap());
}

#[tokio::test]
async fn a_path_too_long_says_so() {
    let data = tempfile::tempdir().unwrap();
    let deep = data.path().join("d".repeat(100));
    fs::create_dir(&deep).unwrap();
    let error = Socket::bind(&deep).err().unwrap();
    assert!(error.to_string().contains("shorter path"), "{error}");
    assert!(Client::connect(&deep).unwrap().is_none());
}
