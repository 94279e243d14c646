//! Where the representation of a resource comes from, and what becomes of it when it is written.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use antiphon_wire::Code;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Larger representations are not served: this is the body that clients take by default.
pub(crate) const LARGEST: usize = 1 << 20;

/// A program that has not ended by then is stopped.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// What a resource answers: a code, and the payload of a success or a diagnostic text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: Code,
    pub(crate) payload: Vec<u8>,
}

impl Reply {
    fn new(code: Code) -> Self {
        Self {
            code,
            payload: Vec::new(),
        }
    }

    fn content(payload: Vec<u8>) -> Self {
        if payload.len() > LARGEST {
            return Self::failure("the representation is too large");
        }
        Self {
            code: Code::CONTENT,
            payload,
        }
    }

    /// 5.00 with a diagnostic payload (RFC 7252 section 5.5.2).
    pub(crate) fn failure(text: &str) -> Self {
        Self {
            code: Code::INTERNAL_SERVER_ERROR,
            payload: text.into(),
        }
    }
}

/// A value that is answered at once.
#[derive(Debug)]
pub(crate) enum Stored {
    /// In memory.
    Bytes(Vec<u8>),
    /// In a file.
    File(PathBuf),
    /// A number. Where it is writable POST adds one and PUT sets it; else each GET counts.
    Counter { count: u64, writable: bool },
}

impl Stored {
    /// GET, and PUT and POST where the configuration lets them come here.
    pub(crate) fn handle(&mut self, method: Code, payload: &[u8]) -> Reply {
        match (self, method) {
            (Stored::Bytes(bytes), Code::GET) => Reply::content(bytes.clone()),
            (Stored::Bytes(bytes), Code::PUT) => {
                payload.clone_into(bytes);
                Reply::new(Code::CHANGED)
            }
            (Stored::File(path), Code::GET) => match std::fs::read(path) {
                Ok(bytes) => Reply::content(bytes),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                    Reply::new(Code::NOT_FOUND)
                }
                // The path is nobody's business.
                Err(error) => Reply::failure(&error.kind().to_string()),
            },
            (Stored::File(path), Code::PUT) => match replace(path, payload) {
                Ok(true) => Reply::new(Code::CREATED),
                Ok(false) => Reply::new(Code::CHANGED),
                Err(error) => Reply::failure(&error.kind().to_string()),
            },
            (Stored::Counter { count, writable }, Code::GET) => {
                if !*writable {
                    *count = count.saturating_add(1);
                }
                Reply::content(count.to_string().into_bytes())
            }
            (Stored::Counter { count, .. }, Code::POST) => {
                *count = count.saturating_add(1);
                Reply::new(Code::CHANGED)
            }
            (Stored::Counter { count, .. }, Code::PUT) => {
                let number = core::str::from_utf8(payload)
                    .ok()
                    .and_then(|text| text.trim().parse().ok());
                match number {
                    Some(number) => {
                        *count = number;
                        Reply::new(Code::CHANGED)
                    }
                    None => Reply {
                        code: Code::BAD_REQUEST,
                        payload: b"a counter is a number".to_vec(),
                    },
                }
            }
            _ => Reply::new(Code::METHOD_NOT_ALLOWED),
        }
    }
}

/// Replaces a file at once: readers see the old content or the new one. True if there was none.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<bool> {
    let is_new = !path.exists();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let written =
        std::fs::write(&temporary, content).and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written.map(|()| is_new)
}

/// Runs a program for one request: its output is the representation, the payload its input. It finds the method
/// and the path in `ANTIPHON_METHOD` and `ANTIPHON_PATH`. Ends it after [`PATIENCE`].
pub(crate) async fn run(
    words: &[String],
    method: Code,
    path: &str,
    payload: &[u8],
    patience: Duration,
) -> Reply {
    let Some((program, arguments)) = words.split_first() else {
        return Reply::failure("no program");
    };
    let spawned = tokio::process::Command::new(program)
        .args(arguments)
        .env("ANTIPHON_METHOD", method.name().unwrap_or_default())
        .env("ANTIPHON_PATH", path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            return Reply::failure(&format!("the program does not start: {}", error.kind()));
        }
    };
    let mut input = child.stdin.take();
    let output = child.stdout.take();
    let work = async {
        let feed = async {
            if let Some(mut pipe) = input.take() {
                // A program that does not read its input closes the pipe: that is its right.
                let _ = pipe.write_all(payload).await;
            }
        };
        let drink = async {
            let mut bytes = Vec::new();
            if let Some(pipe) = output {
                pipe.take(LARGEST as u64 + 1)
                    .read_to_end(&mut bytes)
                    .await?;
            }
            Ok::<_, std::io::Error>(bytes)
        };
        let ((), bytes) = tokio::join!(feed, drink);
        let bytes = bytes?;
        if bytes.len() > LARGEST {
            return Ok((None, bytes));
        }
        Ok::<_, std::io::Error>((Some(child.wait().await?), bytes))
    };
    match tokio::time::timeout(patience, work).await {
        Err(_) => Reply::failure("the program takes too long"),
        Ok(Err(error)) => Reply::failure(&format!("the program: {}", error.kind())),
        Ok(Ok((None, _))) => Reply::failure("the program writes too much"),
        Ok(Ok((Some(status), _))) if !status.success() => Reply::failure("the program failed"),
        Ok(Ok((Some(_), bytes))) if method == Code::GET => Reply::content(bytes),
        Ok(Ok((Some(_), bytes))) => Reply {
            code: Code::CHANGED,
            payload: bytes,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: Code, payload: &str) -> Reply {
        Reply {
            code,
            payload: payload.into(),
        }
    }

    #[test]
    fn bytes_are_read_and_replaced() {
        let mut value = Stored::Bytes(b"off".to_vec());
        assert_eq!(value.handle(Code::GET, b""), reply(Code::CONTENT, "off"));
        assert_eq!(value.handle(Code::PUT, b"on"), reply(Code::CHANGED, ""));
        assert_eq!(value.handle(Code::GET, b""), reply(Code::CONTENT, "on"));
        assert_eq!(
            value.handle(Code::POST, b"x"),
            reply(Code::METHOD_NOT_ALLOWED, "")
        );
        let mut large = Stored::Bytes(vec![b'x'; LARGEST]);
        assert_eq!(large.handle(Code::GET, b"").code, Code::CONTENT);
        let mut too_large = Stored::Bytes(vec![b'x'; LARGEST + 1]);
        assert_eq!(
            too_large.handle(Code::GET, b"").code,
            Code::INTERNAL_SERVER_ERROR
        );
    }

    #[test]
    fn counters_count() {
        let mut reads = Stored::Counter {
            count: 6,
            writable: false,
        };
        assert_eq!(reads.handle(Code::GET, b""), reply(Code::CONTENT, "7"));
        assert_eq!(reads.handle(Code::GET, b""), reply(Code::CONTENT, "8"));
        let mut posts = Stored::Counter {
            count: 0,
            writable: true,
        };
        assert_eq!(posts.handle(Code::POST, b""), reply(Code::CHANGED, ""));
        assert_eq!(posts.handle(Code::GET, b""), reply(Code::CONTENT, "1"));
        assert_eq!(posts.handle(Code::PUT, b" 41\n"), reply(Code::CHANGED, ""));
        assert_eq!(posts.handle(Code::GET, b""), reply(Code::CONTENT, "41"));
        assert_eq!(
            posts.handle(Code::PUT, b"many"),
            reply(Code::BAD_REQUEST, "a counter is a number")
        );
        let mut full = Stored::Counter {
            count: u64::MAX,
            writable: true,
        };
        assert_eq!(full.handle(Code::POST, b"").code, Code::CHANGED);
    }

    #[test]
    fn files_are_replaced_as_a_whole() {
        let path = std::env::temp_dir().join(format!("antiphon-value-{}", std::process::id()));
        let mut value = Stored::File(path.clone());
        assert_eq!(value.handle(Code::GET, b""), reply(Code::NOT_FOUND, ""));
        assert_eq!(value.handle(Code::PUT, b"1"), reply(Code::CREATED, ""));
        assert_eq!(value.handle(Code::PUT, b"22"), reply(Code::CHANGED, ""));
        assert_eq!(value.handle(Code::GET, b""), reply(Code::CONTENT, "22"));
        std::fs::remove_file(&path).unwrap();
        let mut nowhere = Stored::File("/no/such/folder/file".into());
        let failed = nowhere.handle(Code::PUT, b"x");
        assert_eq!(failed.code, Code::INTERNAL_SERVER_ERROR);
        assert!(
            !String::from_utf8(failed.payload)
                .unwrap()
                .contains("folder"),
            "paths stay here"
        );
    }

    #[tokio::test]
    async fn programs_answer() {
        let patience = Duration::from_secs(5);
        let words = |line: &str| vec!["sh".to_owned(), "-c".into(), line.into()];
        let get = |line: &'static str| {
            let words = words(line);
            async move { run(&words, Code::GET, "/x", b"", patience).await }
        };
        assert_eq!(
            get("printf '%s %s' $ANTIPHON_METHOD $ANTIPHON_PATH").await,
            reply(Code::CONTENT, "GET /x")
        );
        assert_eq!(
            get("exit 1").await,
            reply(Code::INTERNAL_SERVER_ERROR, "the program failed")
        );
        assert_eq!(
            get("yes").await,
            reply(Code::INTERNAL_SERVER_ERROR, "the program writes too much")
        );
        let echo = run(&words("cat"), Code::PUT, "/x", b"in", patience).await;
        assert_eq!(echo, reply(Code::CHANGED, "in"));
        let deaf = run(&words("true"), Code::PUT, "/x", &vec![0; 1 << 20], patience).await;
        assert_eq!(deaf, reply(Code::CHANGED, ""));
        let slow = run(
            &words("sleep 9"),
            Code::GET,
            "/x",
            b"",
            Duration::from_millis(50),
        )
        .await;
        assert_eq!(
            slow,
            reply(Code::INTERNAL_SERVER_ERROR, "the program takes too long")
        );
        let none = run(
            &["/no/such/program".to_owned()],
            Code::GET,
            "/x",
            b"",
            patience,
        )
        .await;
        assert_eq!(none.code, Code::INTERNAL_SERVER_ERROR);
    }
}
