//! From the names of nodes, which come from data, to names of files.

use std::collections::HashMap;

/// Bytes of a name that are kept as they are; endings and a folder still go with it.
const MOST_BYTES: usize = 120;
/// Names that are devices on some systems, whatever their ending.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// A file name, without an ending, for each of some distinct names.
///
/// A name of letters, digits and a few signs is kept. Whatever could be a path, a hidden file or
/// nothing one can type is escaped as `%2F` (so is `%`), a long name is cut, and it and names that
/// differ in case only end in `~` and their hash. So no two are one file, on any system, and none is
/// outside of the folder.
pub(super) fn file_names(names: &[&str]) -> Vec<String> {
    let escaped: Vec<String> = names.iter().map(|name| escape(name)).collect();
    let mut count: HashMap<String, usize> = HashMap::new();
    for name in &escaped {
        *count.entry(folded(name)).or_insert(0) += 1;
    }
    let unique = |(name, escaped): (&&str, String)| {
        if escaped.len() <= MOST_BYTES && count[&folded(&escaped)] == 1 {
            return escaped;
        }
        let mut end = escaped.len().min(MOST_BYTES);
        while !escaped.is_char_boundary(end) {
            end -= 1;
        }
        let hash = blake3::hash(name.as_bytes()).to_hex();
        format!("{}~{}", &escaped[..end], &hash[..32])
    };
    names.iter().zip(escaped).map(unique).collect()
}

/// The same for names that are equal but for case, also where one letter has two as its capital.
fn folded(name: &str) -> String {
    name.to_uppercase().to_lowercase()
}

fn escape(name: &str) -> String {
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let is_port =
        matches!(stem.strip_prefix("com").or(stem.strip_prefix("lpt")), Some(n) if n.len() == 1);
    let is_device = is_port || DEVICES.contains(&stem.as_str());
    let mut text = String::new();
    for (i, c) in name.chars().enumerate() {
        let inside = i > 0 && matches!(c, '.' | ' ');
        if (c.is_alphanumeric() && !(i == 0 && is_device)) || inside || "-_+=@,()".contains(c) {
            text.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                text += &format!("%{byte:02X}");
            }
        }
    }
    if text.is_empty() { "%".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_names_stay_and_others_are_escaped() {
        let names =
            ["subject_01", "ward-3 (east)", "ward/3", "../../victim", "/etc/x", "", ".", "Größe"];
        let expected = [
            "subject_01",
            "ward-3 (east)",
            "ward%2F3",
            "%2E.%2F..%2Fvictim",
            "%2Fetc%2Fx",
            "%",
            "%2E",
            "Größe",
        ];
        assert_eq!(file_names(&names), expected);
        assert_eq!(
            file_names(&["a\0b", "%2F", "C:\\x", "NUL", "com1.x"]),
            ["a%00b", "%252F", "C%3A%5Cx", "%4EUL", "%63om1.x"]
        );
    }

    #[test]
    fn names_that_differ_in_case_only_are_told_apart_whatever_their_order() {
        let names = file_names(&["Anna", "anna", "bert"]);
        assert!(names[0].starts_with("Anna~") && names[1].starts_with("anna~"), "{names:?}");
        assert_eq!(names[2], "bert");
        let turned = file_names(&["bert", "anna", "Anna"]);
        assert_eq!((&turned[1], &turned[2]), (&names[1], &names[0]));
    }

    proptest! {
        #[test]
        fn every_name_is_one_file_of_the_folder(names: HashSet<String>, long in "[a-zß/]{100,400}") {
            let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
            let (upper, longer) = (long.to_uppercase(), format!("{long}x"));
            names.extend([long.as_str(), &upper, &longer].into_iter().collect::<HashSet<_>>());
            let distinct: HashSet<&str> = names.iter().copied().collect();
            let names: Vec<&str> = distinct.into_iter().collect();
            let files = file_names(&names);
            let different: HashSet<String> = files.iter().map(|f| f.to_lowercase()).collect();
            prop_assert_eq!(different.len(), names.len());
            for file in &files {
                prop_assert!(file.len() < 200);
                let path = Path::new("nodes").join(format!("{file}.safetensors"));
                let mut parts = path.components().skip(1);
                prop_assert!(matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)));
            }
        }
    }
}
