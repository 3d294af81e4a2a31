//! Rows and answers over a real broker, which goes and comes back; left out where there is no mosquitto.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::same::{of_answers, predicted};
use super::{Ended, Running, answered, rows, start, with_model};
use crate::support::{JOB, edgectl, fails, ok};

/// Says on the tests' output that one was left out.
fn skipped(program: &str) {
    let _ = writeln!(std::io::stderr(), "skipped: there is no {program}");
}

/// A broker; it is ended when this is dropped.
struct Broker(Child);

impl Broker {
    fn start(port: u16) -> Option<Self> {
        Self::with(&["-p", &port.to_string()], port)
    }

    /// With arguments, by which it listens at this port.
    fn with(args: &[&str], port: u16) -> Option<Self> {
        let mut command = Command::new("mosquitto");
        command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(child) = command.spawn() else {
            skipped("mosquitto");
            return None;
        };
        let broker = Self(child);
        let began = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "the broker does not begin");
            thread::sleep(Duration::from_millis(20));
        }
        Some(broker)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|at| at.local_addr()).expect("a port").port()
}

fn of(answer: &Value) -> Value {
    json!([answer["series"], answer["answer"], answer["p"], answer["t"]])
}

fn play(folder: &Path, file: &str, to: &str) {
    ok(folder, &["replay", "--data", file, "--speed", "max", "--to", to]);
}

#[test]
fn a_broker_that_goes_and_comes_back_loses_nothing_but_what_it_missed() {
    let port = free_port();
    let Some(broker) = Broker::start(port) else { return };
    let folder = with_model(JOB);
    let at = folder.path();
    let all = ["--model", "m.safetensors", "--queue", "all"];
    let expected = |file: &str| -> Vec<Value> {
        answered(at, &all, &rows(at, file)).answers.iter().map(of).collect()
    };
    let url = |topic: &str| format!("mqtt://127.0.0.1:{port}/{topic}");
    let (filter, answers_to) = (url("+/rows/+"), url("answers"));
    let args = [&all[..], &["--mqtt", &filter, "--mqtt-answers", &answers_to]].concat();
    let mut running = start(at, &args);
    assert_eq!(running.event("source")["result"], "connected");
    let found = Arc::new(Mutex::new(Vec::new()));
    let reader = {
        let (found, stdout) = (Arc::clone(&found), running.child.stdout.take().expect("piped"));
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let line: Value = serde_json::from_str(&line.expect("text")).expect("JSON");
                found.lock().expect("whole").push(line);
            }
        })
    };
    let wait_for = |n: usize| {
        let began = Instant::now();
        while found.lock().expect("whole").len() < n {
            assert!(began.elapsed() < Duration::from_mins(1), "{:?}", found.lock());
            thread::sleep(Duration::from_millis(10));
        }
    };
    // The topics tell the two apart, whose series are called the same.
    let (first, second) = (expected("data/node_1.csv"), expected("data/node_2.csv"));
    play(at, "data/node_1.csv", &url("a/rows"));
    wait_for(first.len());
    drop(broker);
    assert_eq!(running.event("source")["result"], "lost");
    thread::sleep(Duration::from_millis(1500));
    let broker = Broker::start(port);
    let back = Instant::now();
    while running.event("source")["result"] != "connected" {}
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
    play(at, "data/node_2.csv", &url("b/rows"));
    wait_for(first.len() + second.len());
    let ended = Command::new("kill").args(["-TERM", &running.child.id().to_string()]).status();
    assert!(ended.expect("kill").success());
    assert!(running.child.wait().expect("it ends").success());
    reader.join().expect("read");
    drop(broker);
    let found = found.lock().expect("whole");
    let name = |answer: &Value| {
        let mut of = of(answer);
        let name = of[0].as_str().expect("a name").rsplit(['/', ':']).next().map(str::to_owned);
        of[0] = name.into();
        of
    };
    let found: Vec<Value> = found.iter().map(name).collect();
    assert_eq!(found[..first.len()], first);
    assert_eq!(found[first.len()..], second);
}

/// Lines of an output, as they come.
fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    receiver
}

/// The next line; it may take long, but not for ever.
#[track_caller]
fn next(lines: &Receiver<String>) -> String {
    lines.recv_timeout(Duration::from_mins(2)).expect("a line")
}

/// Ends a run by a signal.
fn signal(running: &Running, name: &str) {
    let id = running.child.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().expect("kill").success());
}

#[test]
fn all_recordings_get_the_answers_of_predict() {
    let port = free_port();
    let Some(_broker) = Broker::start(port) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let data = root.join("data/watch");
    let (job, data) = (root.join("examples/watch.toml"), data.to_str().expect("text"));
    let train = ["train", "--config", job.to_str().expect("text"), "--data", data];
    ok(at, &[&train[..], &["--epochs", "1", "--out", "m.safetensors"]].concat());
    let expected = predicted(at, data);
    let url = |topic: &str| format!("mqtt://127.0.0.1:{port}/{topic}");
    let from = url("watch/+");
    let all = ["--model", "m.safetensors", "--queue", "all", "--probs", "--mqtt", &from];
    let mut running = start(at, &all);
    assert_eq!(running.event("source")["result"], "connected");
    let answers = lines(running.child.stdout.take().expect("piped"));
    let job = job.to_str().expect("text");
    let to = url("watch");
    let replay = ["replay", "--config", job, "--data", data, "--speed", "max", "--to", &to];
    let played = edgectl(at, &[&replay[..], &["--json"]].concat()).output().expect("it runs");
    assert!(played.status.success(), "{}", String::from_utf8_lossy(&played.stderr));
    let played: Value = serde_json::from_slice(&played.stderr).expect("a summary");
    assert_eq!(played["lost"], 0, "{played}");
    let read = |line: String| serde_json::from_str::<Value>(&line).expect("JSON");
    let found: Vec<Value> = (0..2026).map(|_| read(next(&answers))).collect();
    assert!(of_answers(&found) == expected, "other answers than predict's");
    signal(&running, "-TERM");
    let events = std::mem::take(&mut running.events);
    let more = running.stderr.by_ref().lines().map(|line| read(line.expect("text")));
    let events = events.into_iter().chain(more).collect();
    let status = running.child.wait().expect("it ends");
    assert_eq!(answers.iter().count(), 0, "no window is answered twice");
    let ended = Ended { status, answers: found, events, error: None };
    assert_eq!(ended.counts(), [("ok".to_owned(), 2026)].into());
    let summary = ended.summary();
    assert_eq!([&summary["rows"], &summary["bad_lines"]], [&played["rows"], &json!(0)]);
}

/// A client of mosquitto's, whose input is at its end once this one's is closed.
fn client(name: &str, port: u16, args: &[&str]) -> std::io::Result<Child> {
    let mut command = Command::new(name);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

#[test]
fn what_a_broker_kept_is_old() {
    let port = free_port();
    let Some(_broker) = Broker::start(port) else { return };
    let folder = with_model(JOB);
    let at = folder.path();
    let text = rows(at, "data/node_1.csv");
    let all = ["--model", "m.safetensors", "--queue", "all"];
    let n = answered(at, &all, &text).answers.len();
    let publish = |args: &[&str]| -> bool {
        let args = [args, &["-q", "1", "-s"]].concat();
        let Ok(mut publishes) = client("mosquitto_pub", port, &args) else { return false };
        let mut input = publishes.stdin.take().expect("piped");
        input.write_all(text.as_bytes()).expect("it reads");
        drop(input);
        publishes.wait().expect("it ends").success()
    };
    if !publish(&["-r", "-t", "a/kept"]) {
        skipped("mosquitto_pub");
        return;
    }
    let from = format!("mqtt://127.0.0.1:{port}/a/+");
    let mut running = start(at, &[&all[..], &["--mqtt", &from]].concat());
    let answers = lines(running.child.stdout.take().expect("piped"));
    let status = |line: String| -> Value {
        serde_json::from_str::<Value>(&line).expect("JSON")["status"].clone()
    };
    assert!(n > 10 && (0..n).all(|_| status(next(&answers)) == "stale"));
    assert!(publish(&["-t", "a/new"]));
    assert!((0..n).all(|_| status(next(&answers)) == "ok"));
}

#[test]
fn answers_go_to_a_topic_whose_status_is_told_and_which_can_be_discovered() {
    let port = free_port();
    let Some(_broker) = Broker::start(port) else { return };
    let client = |name, args: &[&str]| client(name, port, args);
    // Kept by the broker, so that it also comes to one that subscribes later.
    let Ok(mut ready) = client("mosquitto_pub", &["-r", "-t", "ready", "-m", "yes"]) else {
        skipped("mosquitto_pub");
        return;
    };
    assert!(ready.wait().expect("it ends").success());
    let mut reader = client("mosquitto_sub", &["-t", "#", "-v"]).map(Broker).expect("it starts");
    let told = lines(reader.0.stdout.take().expect("piped"));
    assert_eq!(next(&told), "ready yes");
    let folder = with_model(JOB);
    let at = folder.path();
    let text = rows(at, "data/node_1.csv");
    let to = format!("mqtt://127.0.0.1:{port}/ward/answers");
    let args = ["--model", "m.safetensors", "--queue", "all", "--mqtt-answers", &to];
    let mut running = start(at, &args);
    // Nobody asked to be discovered.
    assert_eq!(next(&told), "ward/answers/status online");
    running.feed(&text);
    let ended = running.end();
    let sent = ended.answers.iter().map(|_| next(&told).replacen("ward/answers ", "", 1));
    let sent: Vec<Value> = sent.map(|line| serde_json::from_str(&line).expect("JSON")).collect();
    assert!(sent.len() > 10 && sent == ended.answers, "the same lines as on stdout");
    assert_eq!(next(&told), "ward/answers/status offline");

    let running = start(at, &[&args[..], &["--mqtt-discovery"]].concat());
    assert_eq!(next(&told), "ward/answers/status online");
    let config = next(&told);
    let (topic, config) = config.split_once(' ').expect("a topic");
    assert_eq!(topic, "homeassistant/sensor/edgectl_ward_answers/config");
    let config: Value = serde_json::from_str(config).expect("JSON");
    assert_eq!(config["availability_topic"], "ward/answers/status");
    signal(&running, "-9");
    assert_eq!(next(&told), "ward/answers/status offline", "its last will");
    let args = ["-t", "homeassistant/#", "-t", "ward/answers/status", "-C", "2", "-F", "%r %t"];
    let kept = client("mosquitto_sub", &args).expect("it starts").wait_with_output();
    let kept = String::from_utf8(kept.expect("it ends").stdout).expect("text");
    let mut kept: Vec<&str> = kept.lines().collect();
    kept.sort_unstable();
    assert_eq!(kept, [&*format!("1 {topic}"), "1 ward/answers/status"], "both are kept");
}

/// Runs openssl in a folder; says whether there is one.
fn openssl(folder: &Path, args: &[&str]) -> bool {
    let mut command = Command::new("openssl");
    command.current_dir(folder).args(args).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[test]
fn with_tls_the_brokers_certificate_is_that_of_the_named_authority() {
    let folder = with_model(JOB);
    let at = folder.path();
    std::fs::write(at.join("of"), "subjectAltName=DNS:localhost\n").expect("written");
    let key = ["-newkey", "rsa:2048", "-nodes", "-keyout"];
    let authority =
        [&["req", "-x509"], &key[..], &["a.key", "-out", "a.pem", "-subj", "/CN=a"]].concat();
    let request =
        [&["req", "-new"], &key[..], &["b.key", "-out", "b.csr", "-subj", "/CN=b"]].concat();
    let sign = "x509 -req -in b.csr -CA a.pem -CAkey a.key -CAcreateserial -out b.pem -extfile of";
    let sign: Vec<&str> = sign.split(' ').collect();
    if ![&authority, &request, &sign].into_iter().all(|args| openssl(at, args)) {
        skipped("openssl");
        return;
    }
    let [plain, tls] = [0; 2].map(|_| free_port());
    let here = at.display();
    let conf = format!(
        "allow_anonymous true\nlistener {plain} 127.0.0.1\nlistener {tls} 127.0.0.1\n\
         certfile {here}/b.pem\nkeyfile {here}/b.key\nuser root\n"
    );
    std::fs::write(at.join("conf"), conf).expect("written");
    let conf = at.join("conf");
    let Some(_broker) = Broker::with(&["-c", conf.to_str().expect("text")], plain) else { return };
    let url = format!("mqtts://localhost:{tls}/a/+");
    let args = ["--model", "m.safetensors", "--mqtt", &url];
    let mut stranger = start(at, &args);
    let lost = stranger.event("source");
    let reason = lost["reason"].as_str().expect("a reason");
    assert!(lost["result"] == "lost" && reason.to_lowercase().contains("certificate"), "{lost}");
    drop(stranger);
    let mut running = start(at, &[&args[..], &["--ca", "a.pem"]].concat());
    assert_eq!(running.event("source")["result"], "connected");
    play(at, "data/node_1.csv", &format!("mqtt://127.0.0.1:{plain}/a"));
    let mut line = String::new();
    let mut answers = BufReader::new(running.child.stdout.take().expect("piped"));
    assert!(answers.read_line(&mut line).expect("text") > 0);
    assert!(line.contains("\"id\":0,"), "{line}");
}

#[test]
fn who_is_not_known_is_refused_and_who_has_the_password_is_not() {
    let folder = with_model(JOB);
    let at = folder.path();
    let mut passwd = Command::new("mosquitto_passwd");
    passwd.current_dir(at).args(["-b", "-c", "passwords", "me", "word"]);
    if !passwd.status().is_ok_and(|status| status.success()) {
        skipped("mosquitto_passwd");
        return;
    }
    let port = free_port();
    let here = at.display();
    let conf = format!(
        "allow_anonymous false\nlistener {port} 127.0.0.1\npassword_file {here}/passwords\nuser root\n"
    );
    std::fs::write(at.join("conf"), conf).expect("written");
    let conf = at.join("conf");
    let Some(_broker) = Broker::with(&["-c", conf.to_str().expect("text")], port) else { return };
    for login in ["", "me@", "me:other@", "you:word@"] {
        let url = format!("mqtt://{login}127.0.0.1:{port}/a/+");
        let lost = start(at, &["--model", "m.safetensors", "--mqtt", &url]).event("source");
        let reason = lost["reason"].as_str().expect("a reason");
        assert!(lost["result"] == "lost" && reason.contains("user or password"), "{lost}");
    }
    let url = format!("mqtt://me:word@127.0.0.1:{port}/a/+");
    let mut running = start(at, &["--model", "m.safetensors", "--mqtt", &url]);
    let found = running.event("source");
    assert_eq!(found["result"], "connected");
    assert!(!found.to_string().contains("word"), "{found}");
}

#[test]
fn what_is_no_address_or_cannot_be_reached_is_an_error() {
    let folder = with_model(JOB);
    let at = folder.path();
    let model = ["run", "--model", "m.safetensors", "--mqtt"];
    fails(at, &[&model[..], &["mqtt://host"]].concat(), &["name a topic"]);
    fails(at, &[&model[..], &["tcp://host/a"]].concat(), &["mqtt://HOST/TOPIC"]);
    fails(at, &[&model[..], &["mqtts://host/a", "--ca", "none.pem"]].concat(), &["none.pem"]);
    let no_pem = ["mqtts://host/a", "--ca", "data/node_1.csv"];
    fails(at, &[&model[..], &no_pem].concat(), &["data/node_1.csv", "no certificate"]);
    fails(at, &[&model[..3], &["--mqtt-discovery"]].concat(), &["--mqtt-answers"]);
    let filter = ["--mqtt-answers", "mqtt://host/a/+"];
    fails(at, &[&model[..3], &filter].concat(), &["without + and #"]);
    let port = free_port();
    let to = format!("mqtt://127.0.0.1:{port}/a");
    let replay = ["replay", "--data", "data/node_1.csv", "--speed", "max", "--to", &to];
    fails(at, &replay, &["127.0.0.1", "refused"]);
}
