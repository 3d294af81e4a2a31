//! A folder as a small server shows it: what is signed is trusted, and strangers read what the center publishes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

/// How the server is disposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// No signature is good any more.
    Expired,
    /// Strangers read nothing.
    Closed,
    /// Every second request fails.
    Faulty(usize),
    /// Answers have no end.
    Endless,
}

pub(crate) struct Server {
    /// Its URL, with a slash at the end.
    pub(crate) url: String,
    pub(crate) mood: Arc<Mutex<Mood>>,
}

impl Server {
    pub(crate) fn of(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/bucket/", listener.local_addr().expect("an address"));
        let (mood, folder) = (Arc::new(Mutex::new(Mood::Well)), folder.to_owned());
        let state = Arc::clone(&mood);
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (folder, state) = (folder.clone(), Arc::clone(&state));
                let connection = connection.expect("a connection");
                thread::spawn(move || serve(&folder, &state, connection));
            }
        });
        Self { url, mood }
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.mood.lock().expect("sound") = mood;
    }
}

struct Request {
    method: String,
    path: String,
    is_signed: bool,
    once: bool,
    body: Vec<u8>,
}

fn serve(folder: &Path, mood: &Mutex<Mood>, mut to: TcpStream) {
    let mut from = BufReader::new(to.try_clone().expect("cloned"));
    while let Some(request) = read(&mut from) {
        let mood = {
            let mut mood = mood.lock().expect("sound");
            if let Mood::Faulty(n) = &mut *mood {
                *n += 1;
            }
            *mood
        };
        if mood == Mood::Endless && request.method == "GET" {
            let _ = write!(to, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
            while write!(to, "1000\r\n{}\r\n", "x".repeat(0x1000)).is_ok() {}
            return;
        }
        let (status, body) = answer(folder, mood, &request);
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
        let body = if request.method == "HEAD" { &[][..] } else { &body };
        if to.write_all(head.as_bytes()).and_then(|()| to.write_all(body)).is_err() {
            return;
        }
    }
}

fn read(from: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    from.read_line(&mut line).ok().filter(|&n| n > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next()?, words.next()?);
    let (mut length, mut once) = (0, false);
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "if-none-match" => once = value == "*",
            _ => {}
        }
    }
    let mut body = vec![0; length];
    from.read_exact(&mut body).ok()?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let path = path.strip_prefix("/bucket/")?.to_owned();
    Some(Request { method, path, is_signed: query == "signed", once, body })
}

fn answer(folder: &Path, mood: Mood, request: &Request) -> (&'static str, Vec<u8>) {
    let denied = |why: &str| {
        let text = format!("<Error><Code>AccessDenied</Code><Message>{why}</Message></Error>");
        ("403 Forbidden", text.into_bytes())
    };
    if matches!(mood, Mood::Faulty(n) if n % 2 == 1) {
        return ("503 Slow Down", Vec::new());
    }
    if request.is_signed && mood == Mood::Expired {
        return denied("Request has expired");
    }
    let file: PathBuf = folder.join(&request.path);
    let of_nodes = request.path.starts_with("in/");
    if !request.is_signed && (of_nodes || request.method == "PUT" || mood == Mood::Closed) {
        return denied("Access Denied");
    }
    if request.method != "PUT" {
        return match fs::read(&file) {
            Ok(bytes) => ("200 OK", bytes),
            Err(_) if request.is_signed => ("404 Not Found", Vec::new()),
            // Who may not list is not told what is there, as AWS does it.
            Err(_) => denied("Access Denied"),
        };
    }
    if request.once && file.exists() {
        return ("412 Precondition Failed", Vec::new());
    }
    fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    fs::write(&file, &request.body).expect("written");
    ("200 OK", Vec::new())
}
