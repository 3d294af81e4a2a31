//! The cells of a line of `.arff` data, with their quotes taken off.

/// The cells between commas. One in quotes may hold commas, and `\n` for the end of a line.
///
/// # Errors
/// A quote that is not closed, and text around a quoted cell.
pub(super) fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut cells = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        let cell = if let Some(&quote @ (b'\'' | b'"')) = rest.first() {
            let (cell, after) = quoted(quote, &rest[1..])
                .ok_or("a quote is not closed; correct the line, or it is cut off")?;
            rest = after.trim_ascii_start();
            cell
        } else {
            let end = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
            let (cell, after) = rest.split_at(end);
            rest = after;
            cell.trim_ascii().to_vec()
        };
        cells.push(cell);
        match rest.split_first() {
            None => return Ok(cells),
            Some((b',', after)) => rest = after,
            Some(_) => return Err("text follows a closing quote; correct the line".to_owned()),
        }
    }
}

/// What stands before the closing quote, and what after it.
fn quoted(quote: u8, text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut cell = Vec::new();
    let mut at = 0;
    loop {
        match *text.get(at)? {
            byte if byte == quote => return Some((cell, &text[at + 1..])),
            b'\\' => {
                at += 1;
                cell.push(match *text.get(at)? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => other,
                });
            }
            byte => cell.push(byte),
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_commas_and_lines() {
        let cells = |line: &str| {
            split(line.as_bytes()).map(|cells| {
                cells.into_iter().map(|cell| String::from_utf8(cell).unwrap()).collect::<Vec<_>>()
            })
        };
        assert_eq!(cells(r" 1 ,?, a b").unwrap(), ["1", "?", "a b"]);
        assert_eq!(cells(r"'1,2\n3,4' , 'it\'s'").unwrap(), ["1,2\n3,4", "it's"]);
        assert_eq!(cells(r#""a\\",'',"#).unwrap(), ["a\\", "", ""]);
        assert!(cells("'1,2").unwrap_err().contains("not closed"));
        assert!(cells(r"'1\").unwrap_err().contains("not closed"));
        assert!(cells("'1'2").unwrap_err().contains("follows"));
    }
}
