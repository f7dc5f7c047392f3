//! For tests: a world with streams in memory, and a server that answers by table.

use crate::io::Io;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A home directory, variables, input, and what a command printed.
pub struct World {
    home: TempDir,
    vars: HashMap<String, String>,
    input: String,
    asked: Vec<String>,
    answers: Vec<String>,
    pub out: Vec<u8>,
    pub err: Vec<u8>,
}

impl World {
    pub fn new() -> World {
        World {
            home: tempfile::tempdir().unwrap(),
            vars: HashMap::new(),
            input: String::new(),
            asked: Vec::new(),
            answers: Vec::new(),
            out: Vec::new(),
            err: Vec::new(),
        }
    }

    pub fn input(mut self, text: &str) -> World {
        self.input = text.to_owned();
        self
    }

    pub fn var(mut self, name: &str, value: &str) -> World {
        self.vars.insert(name.into(), value.into());
        self
    }

    /// What is typed at the next prompt without echo.
    pub fn types(mut self, text: &str) -> World {
        self.answers.push(text.to_owned());
        self
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn prompts(&self) -> &[String] {
        &self.asked
    }

    pub fn with<T>(&mut self, f: impl FnOnce(&mut Io<'_>) -> T) -> T {
        let (vars, home) = (self.vars.clone(), self.home.path().to_owned());
        let var = move |name: &str| match name {
            "HOME" => Some(home.display().to_string()),
            _ => vars.get(name).cloned(),
        };
        let (asked, answers) = (&mut self.asked, &mut self.answers);
        let mut ask = |prompt: &str| {
            asked.push(prompt.to_owned());
            match answers.is_empty() {
                true => Err(std::io::Error::other("no terminal")),
                false => Ok(answers.remove(0).into()),
            }
        };
        f(&mut Io {
            out: &mut self.out,
            err: &mut self.err,
            input: &mut Cursor::new(self.input.clone().into_bytes()),
            terminal: false,
            var: &var,
            ask: &mut ask,
        })
    }

    /// Runs a command line; returns its exit code, and what it printed in this run.
    pub fn run(&mut self, line: &[&str]) -> (u8, String, String) {
        self.out.clear();
        self.err.clear();
        let args: Vec<_> = std::iter::once("vault-cli").chain(line.iter().copied()).map(Into::into).collect();
        let code = self.with(|io| crate::run(args, io));
        let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        (code, text(&self.out), text(&self.err))
    }
}

/// One request: `METHOD path`, token, body.
#[derive(Clone, Debug)]
pub struct Seen {
    pub call: String,
    pub token: Option<String>,
    pub body: String,
}

/// A plain HTTP server on this host.
pub struct Server {
    pub address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    /// Answers each request by its `METHOD path`: status and body. Anything unknown is 404.
    pub fn start(answer: impl Fn(&str) -> Option<(u16, String)> + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let record = seen.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let Some(request) = read(&stream) else { continue };
                let (status, body) =
                    answer(&request.call).unwrap_or_else(|| (404, r#"{"errors":[]}"#.to_owned()));
                record.lock().unwrap().push(request);
                let head = format!(
                    "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
            }
        });
        Server { address, seen }
    }

    /// Answers by table: `("GET sys/x", 200, body)`.
    pub fn table(rows: &'static [(&'static str, u16, &'static str)]) -> Server {
        Server::start(move |call| {
            rows.iter().find(|(c, _, _)| *c == call).map(|(_, status, body)| (*status, (*body).to_owned()))
        })
    }

    /// A world that talks to this server with a token.
    pub fn world(&self) -> World {
        World::new().var("VAULT_ADDR", &self.address).var("VAULT_TOKEN", "hvs.env")
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The last request's call and body.
    pub fn last(&self) -> (String, String) {
        let last = self.seen().pop().unwrap();
        (last.call, last.body)
    }
}

fn read(stream: &TcpStream) -> Option<Seen> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let call = format!("{} {}", words.next()?, words.next()?.strip_prefix("/v1/")?);
    let (mut length, mut token) = (0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "x-vault-token" => token = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen { call, token, body: String::from_utf8(body).ok()? })
}
