//! A run that is seen and fed over HTTP, by real sockets.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::same::{Found, of_answers, predicted};
use super::{Ended, Running, rows, start, with_model};
use crate::support::{JOB, fails, ok};

const MODEL: [&str; 4] = ["--model", "m.safetensors", "--http", "127.0.0.1:0"];
const ALL: [&str; 3] = ["--queue", "all", "--probs"];
const TOKEN: &str = "0123456789abcdef0123";

/// A run with a server, whose input is at its end, and where it listens.
fn serve(folder: &Path, more: &[&str]) -> (Running, String) {
    let mut running = start(folder, &[&MODEL[..], more].concat());
    drop(running.input.take());
    let event = if more.contains(&"--state") { noted(folder) } else { running.event("http") };
    (running, event["address"].as_str().expect("an address").to_owned())
}

/// The last event of where a run is seen, once it is in the file of its state.
fn noted(folder: &Path) -> Value {
    loop {
        let text = fs::read_to_string(folder.join("state/events.jsonl")).unwrap_or_default();
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line));
        let found = lines.find_map(|event| event.ok().filter(|event| event["event"] == "http"));
        if let Some(event) = found {
            return event;
        }
        std::thread::yield_now();
    }
}

/// Ends a run by a signal.
fn stop(running: Running) -> Ended {
    let id = running.child.id().to_string();
    let kill = std::process::Command::new("kill").args(["-TERM", &id]).status();
    assert!(kill.expect("kill runs").success());
    let ended = running.read();
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.events);
    ended
}

/// A response.
struct Response {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    /// The body as lines of JSON.
    fn lines(&self) -> Vec<Value> {
        self.body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// Sends a request and reads all of the response.
fn ask(address: &str, request: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut stream = send(address, request, headers, body);
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let (status, head) = head.split_once("\r\n").expect("headers");
    let status = status.split(' ').nth(1).and_then(|status| status.parse().ok());
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_ascii_lowercase(), value.to_owned())
    };
    Response {
        status: status.expect("a status"),
        headers: head.split("\r\n").map(header).collect(),
        body: body.to_owned(),
    }
}

fn send(
    address: &str,
    request: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> BufReader<TcpStream> {
    let mut text = format!("{request} HTTP/1.1\r\nconnection: close\r\n");
    if headers.iter().all(|&(name, _)| name != "host") {
        text += &format!("host: {address}\r\n");
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if request.starts_with("POST") {
        text += &format!("content-length: {}\r\n", body.len());
    }
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all((text + "\r\n" + body).as_bytes()).expect("sent");
    BufReader::new(stream)
}

fn get(address: &str, path: &str) -> Response {
    ask(address, &format!("GET {path}"), &[], "")
}

fn post(address: &str, path: &str, body: &str) -> Response {
    ask(address, &format!("POST {path}"), &[], body)
}

/// A file with the token.
fn with_token(folder: &Path) -> [String; 2] {
    let path = folder.join("token");
    fs::write(&path, format!("{TOKEN}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("set");
    ["--token-file".to_owned(), path.to_str().expect("text").to_owned()]
}

#[test]
fn all_recordings_get_the_answers_of_predict() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let data = root.join("data/watch");
    let (job, data) = (root.join("examples/watch.toml"), data.to_str().expect("text"));
    let train = ["train", "--config", job.to_str().expect("text"), "--data", data];
    ok(folder.path(), &[&train[..], &["--epochs", "1", "--out", "m.safetensors"]].concat());
    let expected = predicted(folder.path(), data);
    let (running, address) = serve(folder.path(), &ALL);
    let mut answers = Vec::new();
    for person in 1..=10 {
        let file = fs::read_to_string(format!("{data}/subject_{person:02}.csv")).expect("text");
        let response = post(&address, "/rows?end", &file);
        assert_eq!(response.status, 200, "{}", response.body);
        assert_eq!(response.headers["edgectl-bad-lines"], "0");
        assert_eq!(response.headers["edgectl-rows"], (file.lines().count() - 1).to_string());
        answers.extend(response.lines());
    }
    assert_eq!(answers.len(), 2026);
    assert!(of_answers(&answers) == expected, "other answers than predict's");
    let ended = stop(running);
    assert_eq!(ended.answers, answers, "the same lines are on stdout");
    assert_eq!(ended.counts(), [("ok".to_owned(), 2026)].into());
}

#[test]
fn rows_of_several_requests_are_one_series_and_what_is_no_row_is_told() {
    let folder = with_model(JOB);
    let (mut running, address) = serve(folder.path(), &ALL);
    let text = rows(folder.path(), "data/node_1.csv");
    let lines: Vec<&str> = text.lines().collect();
    let (header, series) = (lines[0], &lines[1..=60]);
    let body = |rows: &[&str]| format!("{header}\n{}\n", rows.join("\n"));
    let first = post(&address, "/rows", &body(&series[..15]));
    assert_eq!((first.status, &*first.body), (202, ""), "no window is due");
    let second = post(&address, "/rows", &body(&series[15..45]));
    assert_eq!(second.status, 200);
    let ids: Vec<Value> = second.lines().iter().map(|answer| answer["id"].clone()).collect();
    assert_eq!(ids, [0, 1, 2], "{}", second.body);
    // Objects name their cells.
    let cells: Vec<&str> = series[45].split(',').collect();
    let object = json!({ "series": cells[0], "t": cells[1].parse::<f64>().expect("a number"), "split": cells[3],
        "x": cells[4].parse::<f64>().expect("a number"), "y": cells[5].parse::<f64>().expect("a number") });
    assert_eq!(post(&address, "/rows", &format!("{object}\nnonsense\n")).status, 202);
    assert_eq!(running.event("bad-line")["count"], 1);
    let refused = post(&address, "/rows", "nonsense\n");
    assert_eq!(refused.status, 400);
    let said = refused.json()["error"].as_str().expect("text").to_owned();
    assert!(said.contains("no column"), "{said}");
    let refused = post(&address, "/rows", "{\"x\":\"text\",\"y\":1}\n");
    assert_eq!(refused.status, 400, "{}", refused.body);
    let metrics = get(&address, "/metrics").body;
    assert!(metrics.contains("edgectl_rows_total{source=\"http\"} 46\n"), "{metrics}");
    assert!(metrics.contains("edgectl_answers_total{status=\"ok\"} 3\n"), "{metrics}");
    let ended = stop(running);
    assert_eq!(ended.counts(), [("ok".to_owned(), 3)].into());
}

#[test]
fn the_open_inference_protocol_gives_the_digits_of_predict() {
    let folder = with_model(JOB);
    let at = folder.path();
    let (running, address) = serve(at, &["--priority", "normal", "--deadline", "1h"]);
    for path in ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/m/ready"] {
        assert_eq!(get(&address, path).status, 200, "{path}");
    }
    let model = get(&address, "/v2/models/m").json();
    assert_eq!(model["inputs"][0]["shape"], json!([-1, 20, 2]));
    assert_eq!(model["outputs"][0]["shape"], json!([-1, 2]));
    assert_eq!(get(&address, "/v2/models/other").status, 404);
    let text = rows(at, "data/node_1.csv");
    let cells: Vec<Vec<f64>> = text
        .lines()
        .skip(1)
        .take(60)
        .map(|line| line.split(',').skip(4).map(|cell| cell.parse().expect("a number")).collect())
        .collect();
    // Three windows, each flat or in lists.
    let windows: Vec<Value> = [0, 10, 20].iter().map(|&at| json!(cells[at..at + 20])).collect();
    let request = json!({ "id": "7", "inputs": [
        { "name": "rows", "shape": [3, 20, 2], "datatype": "FP64", "data": windows },
    ] });
    let found = post(&address, "/v2/models/m/infer", &request.to_string());
    assert_eq!(found.status, 200, "{}", found.body);
    let found = found.json();
    assert_eq!((&found["id"], &found["model_name"]), (&json!("7"), &json!("m")));
    assert_eq!(found["model_version"], model["versions"][0]);
    let output = |name: &str| {
        let outputs = found["outputs"].as_array().expect("a list");
        outputs.iter().find(|output| output["name"] == name).expect("there").clone()
    };
    assert_eq!(output("probs")["shape"], json!([3, 2]));
    let expected = predicted(at, "data/node_1.csv");
    let digits: Vec<String> = output("probs")["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|p| format!("{:.6}", p.as_f64().expect("a number")))
        .collect();
    for (window, expected) in expected["0"][..3].iter().enumerate() {
        assert_eq!(output("label")["data"][window], expected[0]);
        assert_eq!(digits[2 * window..2 * window + 2], expected[2..]);
    }
    // What does not go is told.
    let with = |key: &str, value: Value| {
        let mut request = request.clone();
        request["inputs"][0][key] = value;
        post(&address, "/v2/models/m/infer", &request.to_string())
    };
    for (response, part) in [
        (with("shape", json!([3, 20, 3])), "shape"),
        (with("shape", json!([4, 20, 2])), "values"),
        (with("shape", json!([1, 60, 2])), "several windows"),
        (with("shape", json!([12, 5, 2])), "no windows"),
        (with("shape", json!([4_294_967_296_u64, 4_294_967_296_u64, 2])), "values"),
        (with("shape", json!([0, 20, 2])), "values"),
        (with("datatype", json!("INT8")), "FP32"),
        (with("name", json!("x")), "rows"),
        (with("data", json!("text")), "numbers"),
        (post(&address, "/v2/models/m/infer", "{"), "EOF"),
        (post(&address, "/v2/models/m/infer", "{\"inputs\":[]}"), "one input"),
    ] {
        let error = response.json()["error"].as_str().expect("text").to_owned();
        assert!(response.status == 400 && error.contains(part), "{}: {error}", response.status);
    }
    // A missing value that no step fills in.
    let mut missing = request;
    missing["inputs"][0]["data"][1][3] = json!([null, 1]);
    assert_eq!(post(&address, "/v2/models/m/infer", &missing.to_string()).status, 400);
    let ended = stop(running);
    let counts = ended.counts();
    assert_eq!((counts["ok"], counts["bad-input"]), (4, 1), "{counts:?}");
}

#[test]
fn who_may_do_what() {
    let folder = with_model(JOB);
    let at = folder.path();
    let (running, address) = serve(at, &[]);
    // Without a token, nobody changes anything.
    for path in ["/labels", "/promote", "/rollback"] {
        let refused = post(&address, path, "");
        assert_eq!(refused.status, 403, "{path}");
        assert!(refused.body.contains("--token-file"), "{}", refused.body);
        assert_eq!(get(&address, path).status, 403);
    }
    for (request, headers, status) in [
        ("GET /", &[("host", "evil.example")][..], 403),
        ("GET /metrics", &[("host", "evil.example")], 403),
        ("GET /nothing", &[("host", "evil.example")], 403),
        ("POST /rows", &[("origin", "http://evil.example")], 403),
        ("POST /v2/models/m/infer", &[("sec-fetch-site", "cross-site")], 403),
        ("GET /nothing", &[], 404),
        ("GET /v2/models/m/other", &[], 404),
        ("GET /rows", &[], 405),
        ("POST /metrics", &[], 405),
        ("PUT /rows", &[], 405),
        ("POST /rows", &[("content-encoding", "gzip")], 415),
        ("GET /metrics", &[("x", "y")], 200),
        ("HEAD /metrics", &[], 200),
    ] {
        assert_eq!(ask(&address, request, headers, "").status, status, "{request} {headers:?}");
    }
    stop(running);
    let token = with_token(at);
    let more = [&token[0], &token[1], "--state", "state"].map(|word: &str| word);
    let (running, address) = serve(at, &more);
    let said = format!("Bearer {TOKEN}");
    for (headers, status) in [
        (&[][..], 401),
        (&[("authorization", "Bearer wrong")], 401),
        (&[("authorization", &*said), ("origin", "http://evil.example")], 403),
        // There is no model before.
        (&[("authorization", &*said)], 409),
    ] {
        let refused = ask(&address, "POST /rollback", headers, "");
        assert_eq!(refused.status, status, "{headers:?}: {}", refused.body);
        assert_eq!(refused.headers.contains_key("www-authenticate"), status == 401);
    }
    stop(running);
    // Elsewhere a token is needed for whatever shows or takes rows.
    let mut running = start(at, &["--model", "m.safetensors", "--http", "0.0.0.0:0"]);
    drop(running.input.take());
    let bound = running.event("http")["address"].as_str().expect("an address").to_owned();
    let address = bound.replace("0.0.0.0", "127.0.0.1");
    for (request, status) in [("GET /metrics", 200), ("GET /events", 403), ("POST /rows", 403)] {
        assert_eq!(ask(&address, request, &[], "").status, status, "{request}");
    }
    stop(running);
}

#[test]
fn what_is_too_much_is_refused_and_harms_nothing() {
    let folder = with_model(JOB);
    let (running, address) = serve(folder.path(), &ALL);
    let long = post(&address, "/rows", &"x".repeat((8 << 20) + 1));
    assert_eq!(long.status, 413);
    let header = "x".repeat(1 << 17);
    // A connection may be cut before all is sent.
    let mut stream = TcpStream::connect(&address).expect("it listens");
    let _ = stream.write_all(format!("GET / HTTP/1.1\r\nx: {header}\r\n\r\n").as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200"));
    for garbage in ["\r\n\r\n", "GET\r\n\r\n", "\0\0\0", "GET / HTTP/9.9\r\n\r\n"] {
        let mut stream = TcpStream::connect(&address).expect("it listens");
        stream.write_all(garbage.as_bytes()).expect("sent");
        drop(stream);
    }
    // Some who say nothing stand in nobody's way.
    let idle: Vec<_> = (0..32).map(|_| TcpStream::connect(&address).expect("it listens")).collect();
    assert_eq!(get(&address, "/v2/health/ready").status, 200);
    drop(idle);
    stop(running);
}

#[test]
fn events_tell_rows_answers_and_what_happens() {
    let folder = with_model(JOB);
    let (running, address) = serve(folder.path(), &ALL);
    let mut stream = send(&address, "GET /events", &[], "");
    let mut next = |kind: &str| -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(stream.read_line(&mut line).expect("text") > 0, "no {kind}");
            if line.trim_end() != format!("event: {kind}") {
                continue;
            }
            line.clear();
            stream.read_line(&mut line).expect("text");
            return serde_json::from_str(line.strip_prefix("data: ").expect("data")).expect("JSON");
        }
    };
    let hello = next("hello");
    assert_eq!((&hello["name"], &hello["channels"]), (&json!("m"), &json!(["x", "y"])));
    assert_eq!(hello["events"][0]["event"]["event"], "start");
    assert_eq!(next("stats")["models"][0]["state"], "live");
    // Rows and answers are shown from the next tick on.
    next("stats");
    let text = rows(folder.path(), "data/node_1.csv");
    assert_eq!(post(&address, "/rows", &text).status, 200);
    assert_eq!(next("rows")[0][2].as_array().map(Vec::len), Some(2));
    let answers = next("answers");
    assert!(answers[0]["answer"].is_string() && answers[0]["p"].is_number(), "{answers}");
    post(&address, "/rows", "series,t,x,y\nnonsense\n");
    assert_eq!(next("event")["event"]["event"], "bad-line");
    let page = get(&address, "/");
    assert!(page.body.len() <= 120_000 && page.body.contains("<!doctype html>"));
    assert!(page.headers["content-security-policy"].starts_with("default-src 'none'"));
    stop(running);
}

#[test]
fn an_address_that_is_taken_and_a_token_that_others_read_are_errors() {
    let folder = with_model(JOB);
    let at = folder.path();
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("free");
    let address = held.local_addr().expect("known").to_string();
    let run = ["run", "--model", "m.safetensors", "--http", &address];
    fails(at, &run, &["--http", &address, "cannot listen"]);
    let token = with_token(at);
    fs::set_permissions(&token[1], fs::Permissions::from_mode(0o644)).expect("set");
    let more = ["--token-file", &token[1]];
    fails(at, &[&["run"][..], &MODEL, &more].concat(), &["chmod 600"]);
}

#[test]
fn an_input_with_rows_ends_the_run_also_where_it_is_seen() {
    let folder = with_model(JOB);
    let text = rows(folder.path(), "data/node_1.csv");
    let ended = super::answered(folder.path(), &[&MODEL[..], &ALL].concat(), &text);
    let n: u64 = ended.counts().values().sum();
    let expected: Found = predicted(folder.path(), "data/node_1.csv");
    assert_eq!(n, expected.values().map(Vec::len).sum::<usize>() as u64);
}

#[test]
fn classes_that_are_told_later_need_the_token() {
    let folder = with_model(JOB);
    let at = folder.path();
    let token = with_token(at);
    let (running, address) = serve(at, &[&ALL[..], &[&token[0], &token[1]]].concat());
    let label = "{\"label\":\"fast\",\"id\":0}\n";
    let text = rows(at, "data/node_1.csv");
    for body in [label.to_owned(), format!("{text}{label}")] {
        let refused = post(&address, "/rows", &body);
        assert_eq!(refused.status, 403, "{}", refused.body);
        assert!(refused.body.contains("/labels"), "{}", refused.body);
    }
    let said = format!("Bearer {TOKEN}");
    let ask = |path: &str, body: &str| {
        ask(&address, &format!("POST {path}"), &[("authorization", &*said)], body)
    };
    assert_eq!(ask("/rows", &format!("{text}{label}")).status, 200);
    let told = ask("/labels", label);
    assert_eq!((told.status, &*told.headers["edgectl-labels"]), (202, "1"));
    let refused = ask("/labels", &format!("{label}series,t,x,y\n"));
    assert_eq!(refused.status, 400, "{}", refused.body);
    stop(running);
}
