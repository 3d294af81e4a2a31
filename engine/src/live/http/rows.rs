//! Rows that are handed in, and the answers of windows that they made due.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;

use super::answered::{Answered, answered, with, wrong};
use super::site::Site;
use crate::live::reply::{Reply, Told};
use crate::live::truth::Truth;

/// How long answers are waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// What lines may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// Rows; with `true` also classes of windows that were answered before.
    Rows(bool),
    /// Only such classes.
    Labels,
}

/// Takes lines as they would come on stdin. Answers with the lines of windows that became due; 202 where none did.
pub(super) fn take(site: &Site, lines: &Bytes, taken: Taken, ends: bool) -> Answered {
    let channels = &site.channels;
    let is_label = |line: &&[u8]| {
        // As those who read lines find out.
        let is_of_row = |name: &str| name == "x" || channels.iter().any(|channel| channel == name);
        Truth::of_line(line, is_of_row).is_some()
    };
    let labels = lines.split(|&byte| byte == b'\n').filter(is_label).count();
    let any = lines.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    match taken {
        Taken::Rows(false) if labels > 0 => {
            return wrong(StatusCode::FORBIDDEN, "labels need the token: send them to /labels");
        }
        Taken::Labels if any.count() != labels => {
            let why = "give lines such as {\"label\":\"A\",\"id\":17} or {\"label\":\"A\",\"series\":\"s\",\"from\":1,\"to\":2}";
            return wrong(StatusCode::BAD_REQUEST, why);
        }
        _ => {}
    }
    let reply = Arc::new(Reply::new(false));
    if let Err(error) = site.desk.lines(lines, ends, &reply) {
        return wrong(StatusCode::BAD_REQUEST, &format!("{error:#}"));
    }
    let told = reply.wait(PATIENCE);
    if let (0, Some(reason)) = (told.rows, &told.reason) {
        let why = format!("none of {} lines is a row; the first: {reason}", told.bad_lines);
        return wrong(StatusCode::BAD_REQUEST, &why);
    }
    let Told { answers, left_out, waiting, rows, bad_lines, .. } = told;
    let status = if answers.is_empty() && left_out == 0 && waiting == 0 {
        StatusCode::ACCEPTED
    } else if waiting > 0 {
        StatusCode::GATEWAY_TIMEOUT
    } else {
        StatusCode::OK
    };
    let mut text = Vec::new();
    for answer in &answers {
        answer.write(&mut text);
    }
    let mut response = answered(status, "application/x-ndjson", text);
    for (name, n) in [
        ("edgectl-rows", rows),
        ("edgectl-bad-lines", bad_lines),
        ("edgectl-labels", labels as u64),
        ("edgectl-answers-left-out", left_out),
        ("edgectl-answers-missing", waiting),
    ] {
        response = with(response, name, &n.to_string());
    }
    response
}
