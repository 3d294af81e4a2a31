//! Rows and answers over a real broker, which goes and comes back; left out where there is no mosquitto.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{answered, rows, start, with_model};
use crate::support::{JOB, fails, ok};

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
            use std::io::Write as _;
            let _ = writeln!(std::io::stderr(), "skipped: there is no mosquitto");
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
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "skipped: there is no openssl");
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
fn what_is_no_address_or_cannot_be_reached_is_an_error() {
    let folder = with_model(JOB);
    let at = folder.path();
    let model = ["run", "--model", "m.safetensors", "--mqtt"];
    fails(at, &[&model[..], &["mqtt://host"]].concat(), &["name a topic"]);
    fails(at, &[&model[..], &["tcp://host/a"]].concat(), &["mqtt://HOST/TOPIC"]);
    fails(at, &[&model[..], &["mqtts://host/a", "--ca", "none.pem"]].concat(), &["none.pem"]);
    let no_pem = ["mqtts://host/a", "--ca", "data/node_1.csv"];
    fails(at, &[&model[..], &no_pem].concat(), &["data/node_1.csv", "no certificate"]);
    let port = free_port();
    let to = format!("mqtt://127.0.0.1:{port}/a");
    let replay = ["replay", "--data", "data/node_1.csv", "--speed", "max", "--to", &to];
    fails(at, &replay, &["127.0.0.1", "refused"]);
}
