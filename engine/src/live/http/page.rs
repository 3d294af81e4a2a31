//! The page: one file that asks for nothing but the events of its own server.

use hyper::StatusCode;

use super::answered::{Answered, answered, with, wrong};

/// Its parts, in their order; `NONCE` stands for a word that is another each time.
const PARTS: [&str; 10] = [
    include_str!("page/head.html"),
    include_str!("page/uplot-1.6.32.min.css"),
    include_str!("page/page.css"),
    include_str!("page/body.html"),
    "<!-- uPlot:\n",
    include_str!("page/uplot-LICENSE"),
    "-->\n<script nonce=\"NONCE\">\n",
    include_str!("page/uplot-1.6.32.min.js"),
    include_str!("page/page.js"),
    include_str!("page/foot.html"),
];

/// The page. Only what bears the word of this response is run and shown, and nothing from elsewhere.
pub(super) fn page() -> Answered {
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        return wrong(StatusCode::INTERNAL_SERVER_ERROR, "the system has no random numbers");
    }
    let nonce = format!("{:032x}", u128::from_le_bytes(random));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let page = PARTS.concat().replace("NONCE", &nonce);
    let response = answered(StatusCode::OK, "text/html; charset=utf-8", page);
    with(response, "content-security-policy", &policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_names_nothing_outside() {
        let page = PARTS.concat();
        assert!(page.len() <= 120_000, "{} bytes", page.len());
        assert_eq!(page.matches("NONCE").count(), 2, "a style and a script");
        // Where uPlot is from, and the name of a kind of element: nothing that is loaded.
        let named = ["https://github.com/leeoniya/uPlot", "http://www.w3.org/2000/svg"];
        let named = named.map(|name| page.matches(name).count());
        assert_eq!(page.matches("://").count(), named.iter().sum::<usize>());
        assert!(page.contains("Copyright (c) 2022 Leon Sorokin") && page.contains("MIT License"));
    }
}
