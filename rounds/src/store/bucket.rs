//! Opening a bucket of S3, and of what speaks like it.

use std::path::Path;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path as ObjectPath;
use object_store::{ClientOptions, RetryConfig};
use url::Url;

use super::connector::Connector;
use super::http::{Roots, allows_http};
use super::waiting::CONNECT;

/// The bucket of a URL as the environment says how to reach it, and the path in it.
pub(super) fn open(url: &Url, ca: Option<&Path>) -> Result<(AmazonS3, ObjectPath), String> {
    let builder = AmazonS3Builder::from_env().with_url(url.as_str());
    let store = build(builder, Roots::read(ca)?, allows_http())?;
    let root = ObjectPath::from_url_path(url.path()).map_err(|error| error.to_string())?;
    Ok((store, root))
}

pub(super) fn build(
    builder: AmazonS3Builder,
    roots: Roots,
    allow_http: bool,
) -> Result<AmazonS3, String> {
    let options = ClientOptions::new().with_connect_timeout(CONNECT).with_allow_http(allow_http);
    builder
        .with_client_options(options)
        .with_http_connector(Connector(roots))
        // Waiting is done above, with a word to people.
        .with_retry(RetryConfig { max_retries: 1, ..RetryConfig::default() })
        .build()
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    use futures::{StreamExt, TryStreamExt};
    use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions};

    use super::*;

    /// A server that gives each request to a closure, by its first line and its body.
    fn server(answer: fn(&str, &[u8], &mut TcpStream)) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let at = format!("http://{}", listener.local_addr().expect("an address"));
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut to = connection.expect("a connection");
                thread::spawn(move || {
                    let mut from = BufReader::new(to.try_clone().expect("cloned"));
                    loop {
                        let (mut first, mut length) = (String::new(), 0);
                        if from.read_line(&mut first).unwrap_or(0) == 0 {
                            return;
                        }
                        let mut line = String::new();
                        while from.read_line(&mut line).is_ok_and(|n| n > 2) {
                            let (name, value) = line.split_once(':').expect("a header");
                            if name.eq_ignore_ascii_case("content-length") {
                                length = value.trim().parse().expect("a number");
                            }
                            line.clear();
                        }
                        let mut body = vec![0; length];
                        from.read_exact(&mut body).expect("a body");
                        answer(first.trim(), &body, &mut to);
                    }
                });
            }
        });
        at
    }

    fn bucket(at: &str) -> AmazonS3 {
        let builder = AmazonS3Builder::new()
            .with_endpoint(at)
            .with_allow_http(true)
            .with_bucket_name("b")
            .with_access_key_id("key")
            .with_secret_access_key("secret")
            .with_region("r");
        build(builder, Roots::read(None).expect("roots"), true).expect("built")
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build();
        runtime.expect("a runtime").block_on(future)
    }

    fn say(to: &mut TcpStream, head: &str, body: &[u8]) {
        let _ = write!(to, "HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n", body.len());
        let _ = to.write_all(body);
    }

    /// As many bytes as somebody takes.
    fn without_end(to: &mut TcpStream, head: &str) {
        let _ = write!(
            to,
            "HTTP/1.1 {head}\r\ncontent-length: 9000000000000\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n"
        );
        while to.write_all(&[b'x'; 1 << 14]).is_ok() {}
    }

    #[test]
    fn what_is_sent_and_what_is_answered_goes_through() {
        let at = server(|first, body, to| match first {
            "PUT /b/a HTTP/1.1" if body == b"bytes" => say(to, "200 OK\r\netag: \"1\"", b""),
            "PUT /b/taken HTTP/1.1" => say(to, "412 Precondition Failed", b""),
            "GET /b/a HTTP/1.1" => {
                let modified = "last-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\netag: \"1\"";
                say(to, &format!("200 OK\r\n{modified}"), &vec![7; 300_000]);
            }
            "GET /b/mine HTTP/1.1" => say(to, "403 Forbidden", b"<Code>No</Code>"),
            "GET /b/elsewhere HTTP/1.1" => {
                say(to, "307 Temporary Redirect\r\nlocation: http://127.0.0.1:1/", b"");
            }
            _ => say(to, "404 Not Found", b""),
        });
        let bucket = bucket(&at);
        let put = |path: &'static str| {
            let mode = PutOptions::from(PutMode::Create);
            let at = ObjectPath::from(path);
            let bucket = &bucket;
            async move { bucket.put_opts(&at, b"bytes".to_vec().into(), mode).await }
        };
        let get = |path: &'static str| {
            let at = ObjectPath::from(path);
            let bucket = &bucket;
            async move { bucket.get(&at).await?.bytes().await }
        };
        wait(async {
            put("a").await.expect("created");
            assert!(matches!(put("taken").await, Err(Error::AlreadyExists { .. })));
            assert_eq!(get("a").await.expect("there"), vec![7; 300_000]);
            assert!(matches!(get("b").await, Err(Error::NotFound { .. })));
            assert!(matches!(get("mine").await, Err(Error::PermissionDenied { .. })));
            let elsewhere = get("elsewhere").await.expect_err("it goes elsewhere").to_string();
            assert!(elsewhere.contains("307"), "{elsewhere}");
        });
    }

    #[test]
    fn answers_without_end_fill_no_memory() {
        let at = server(|first, _, to| match first {
            "GET /b/object HTTP/1.1" => without_end(to, "200 OK\r\netag: \"1\""),
            "GET /b/error HTTP/1.1" => without_end(to, "403 Forbidden"),
            _ => without_end(to, "200 OK"),
        });
        let bucket = bucket(&at);
        wait(async {
            // Of an object, whoever reads it says when it is enough.
            let found = bucket.get(&ObjectPath::from("object")).await.expect("a head");
            let mut pieces = found.into_stream();
            let piece = pieces.next().await.expect("bytes").expect("bytes");
            assert!(piece.iter().all(|&b| b == b'x'));
            drop(pieces);
            assert!(bucket.get(&ObjectPath::from("error")).await.is_err());
            assert!(bucket.list(None).try_collect::<Vec<_>>().await.is_err());
        });
    }

    #[test]
    fn a_server_that_is_not_there_is_no_answer() {
        let at = {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            format!("http://{}", listener.local_addr().expect("an address"))
        };
        let error =
            wait(async { bucket(&at).get(&ObjectPath::from("a")).await }).expect_err("there");
        assert!(matches!(error, Error::Generic { .. }), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
    }
}
